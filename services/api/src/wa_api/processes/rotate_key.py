"""The process that reseals secrets with a new key."""

from pydantic import SecretStr

from wa_api.access import key_rotation
from wa_api.access.key_rotation import CannotRotate, KeyRotation
from wa_api.access.secret_box import TOKENS, WEBHOOKS, secret_box
from wa_api.database.pool import Database
from wa_api.settings import Settings


async def run_key_rotation(settings: Settings, encryption_key: SecretStr) -> None:
    """Reseal with this key every secret that the former key sealed.

    Raises:
        CannotRotate: Some secrets were not resealed; the text says why.
    """
    unreadable = 0
    async with Database(settings.api_database_url.get_secret_value(), size=1) as database:
        rotation = KeyRotation(database)
        for purpose, columns in {
            TOKENS: (key_rotation.TOKENS,),
            WEBHOOKS: (
                key_rotation.WEBHOOK_SECRETS,
                key_rotation.FORMER_WEBHOOK_SECRETS,
                key_rotation.WEBHOOK_HEADERS,
            ),
        }.items():
            for column in columns:
                box = secret_box(settings, encryption_key, purpose)
                unreadable += (await rotation.rotate(column, box)).unreadable
    if unreadable:
        raise CannotRotate(
            f"{unreadable} secrets were sealed with neither of the two keys; the log names them. "
            "All others are under the new key. Rotate those tokens and webhook secrets one by one."
        )
