"""The boxes that secrets are kept in, by the settings' keys: one for each purpose."""

from pydantic import SecretStr

from wa_api.access.keys import derive
from wa_api.access.secret_box import SecretBox
from wa_api.settings import Settings

TOKENS, WEBHOOKS = "session tokens", "webhook secrets"
"""What their keys are derived for."""


def secret_box(settings: Settings, encryption_key: SecretStr, purpose: str) -> SecretBox:
    """The box for a purpose; it reads what the former key sealed, where the settings name one."""
    former = settings.former_token_encryption_key
    return SecretBox(
        derive(encryption_key, purpose), None if former is None else derive(former, purpose)
    )
