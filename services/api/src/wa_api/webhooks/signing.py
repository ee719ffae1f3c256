"""Secrets of endpoints and the signatures made with them, as Standard Webhooks has them."""

import base64
import secrets
from collections.abc import Mapping, Sequence
from datetime import datetime
from uuid import UUID

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from standardwebhooks import Webhook

_PREFIX = "whsec_"
_SECRET_BYTES = 32
_NONCE_BYTES = 12


def new_secret() -> str:
    """A secret as people copy it: `whsec_` and 32 random bytes in base64."""
    return _PREFIX + base64.b64encode(secrets.token_bytes(_SECRET_BYTES)).decode()


class SecretBox:
    """Keeps secrets unreadable at rest. `key` is 32 bytes; the endpoint's id is bound into each."""

    def __init__(self, key: bytes) -> None:
        self._cipher = AESGCM(key)

    def seal(self, endpoint_id: UUID, secret: str) -> bytes:
        """The secret as it is stored."""
        nonce = secrets.token_bytes(_NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, secret.encode(), endpoint_id.bytes)

    def open(self, endpoint_id: UUID, sealed: bytes) -> str:
        """The secret.

        Raises:
            cryptography.exceptions.InvalidTag: TOKEN_ENCRYPTION_KEY is not the one it was sealed with.
        """
        nonce, cipher = sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:]
        return self._cipher.decrypt(nonce, cipher, endpoint_id.bytes).decode()


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
