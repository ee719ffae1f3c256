"""Endpoint secrets and signatures. Source: Standard Webhooks."""

import base64
import secrets
from collections.abc import Mapping, Sequence
from datetime import datetime
from uuid import UUID

from standardwebhooks import Webhook

_PREFIX = "whsec_"
_SECRET_BYTES = 32


def new_secret() -> str:
    """Create a secret: `whsec_` and 32 random bytes in base64."""
    return _PREFIX + base64.b64encode(secrets.token_bytes(_SECRET_BYTES)).decode()


def signed_headers(
    *, webhook_id: UUID, at: datetime, body: str, secrets: Sequence[str]
) -> Mapping[str, str]:
    """The three headers of Standard Webhooks, one signature per secret. `at` is aware UTC."""
    signatures = [Webhook(secret).sign(str(webhook_id), at, body) for secret in secrets]
    return {
        "webhook-id": str(webhook_id),
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": " ".join(signatures),
    }
