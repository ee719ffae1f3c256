"""Secrets that must be read again: unreadable at rest, each bound to what it belongs to."""

import secrets
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from pydantic import SecretStr

from wa_api.access.keys import derive
from wa_api.settings import Settings

TOKENS, WEBHOOKS = "session tokens", "webhook secrets"
"""Purposes. Each has a key of its own, derived from the encryption key."""

_NONCE_BYTES = 12


class SecretBox:
    """AES-256-GCM with the id of its owner as associated data.

    While a key is being changed the box knows two: it seals with the present one alone and reads
    what either sealed.
    """

    def __init__(self, key: bytes, former: bytes | None = None) -> None:
        """Keys are 32 bytes."""
        self._cipher = AESGCM(key)
        self._former = None if former is None else AESGCM(former)

    def seal(self, owner: UUID, secret: str) -> bytes:
        """The secret as it is stored."""
        nonce = secrets.token_bytes(_NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, secret.encode(), owner.bytes)

    def open(self, owner: UUID, sealed: bytes) -> str:
        """The secret.

        Raises:
            cryptography.exceptions.InvalidTag: no key here is the one that it was sealed with.
        """
        try:
            return _opened(self._cipher, owner, sealed)
        except InvalidTag:
            if self._former is None:
                raise
            return _opened(self._former, owner, sealed)

    def seal_anew(self, owner: UUID, sealed: bytes) -> bytes | None:
        """The same secret under the present key; None if it is under that already.

        Raises:
            cryptography.exceptions.InvalidTag: as `open`.
        """
        try:
            _opened(self._cipher, owner, sealed)
        except InvalidTag:
            return self.seal(owner, self.open(owner, sealed))
        return None


def secret_box(settings: Settings, encryption_key: SecretStr, purpose: str) -> SecretBox:
    """The box for a purpose. It also opens what the former key sealed, if the settings name one."""
    former = settings.former_token_encryption_key
    return SecretBox(
        derive(encryption_key, purpose), None if former is None else derive(former, purpose)
    )


def _opened(cipher: AESGCM, owner: UUID, sealed: bytes) -> str:
    nonce, text = sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:]
    return cipher.decrypt(nonce, text, owner.bytes).decode()
