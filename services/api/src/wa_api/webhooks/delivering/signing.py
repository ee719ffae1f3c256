"""Secrets of endpoints and the signatures made with them, as Standard Webhooks has them."""

import base64
import secrets
from collections.abc import Mapping, Sequence
from datetime import datetime
from uuid import UUID

from standardwebhooks import Webhook

_PREFIX = "whsec_"
_SECRET_BYTES = 32


def new_secret() -> str:
    """A secret as people copy it: `whsec_` and 32 random bytes in base64."""
    return _PREFIX + base64.b64encode(secrets.token_bytes(_SECRET_BYTES)).decode()


def signed_headers(
    *, webhook_id: UUID, at: datetime, body: str, secrets: Sequence[str]
) -> Mapping[str, str]:
    """The three headers of Standard Webhooks, with a signature by each secret. `at` is aware UTC."""
    signatures = [Webhook(secret).sign(str(webhook_id), at, body) for secret in secrets]
    return {
        "webhook-id": str(webhook_id),
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": " ".join(signatures),
    }
