"""Encrypts secrets that must be readable again, each bound to its owner."""

import secrets
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from pydantic import SecretStr

from wa_api.access.keys import derive
from wa_api.settings import Settings

TOKENS, WEBHOOKS = "session tokens", "webhook secrets"
"""Purposes. Each has its own key, derived from the encryption key."""

_NONCE_BYTES = 12


class SecretBox:
    """AES-256-GCM with the owner's id as associated data.

    During a key rotation, seals with the current key and opens with either.
    """

    def __init__(self, key: bytes, former: bytes | None = None) -> None:
        """Keys have 32 bytes."""
        self._cipher = AESGCM(key)
        self._former = None if former is None else AESGCM(former)

    def seal(self, owner: UUID, secret: str) -> bytes:
        nonce = secrets.token_bytes(_NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, secret.encode(), owner.bytes)

    def open(self, owner: UUID, sealed: bytes) -> str:
        """Decrypt a secret.

        Raises:
            cryptography.exceptions.InvalidTag: The secret was sealed with another key.
        """
        try:
            return _decrypt(self._cipher, owner, sealed)
        except InvalidTag:
            if self._former is None:
                raise
            return _decrypt(self._former, owner, sealed)

    def seal_anew(self, owner: UUID, sealed: bytes) -> bytes | None:
        """Reseal a secret under the current key; None if it already is.

        Raises:
            cryptography.exceptions.InvalidTag: See `open`.
        """
        try:
            _decrypt(self._cipher, owner, sealed)
        except InvalidTag:
            return self.seal(owner, self.open(owner, sealed))
        return None


def secret_box(settings: Settings, encryption_key: SecretStr, purpose: str) -> SecretBox:
    """The box for a purpose. Also opens with the former key, if the settings name one."""
    former = settings.former_token_encryption_key
    return SecretBox(
        derive(encryption_key, purpose), None if former is None else derive(former, purpose)
    )


def _decrypt(cipher: AESGCM, owner: UUID, sealed: bytes) -> str:
    nonce, text = sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:]
    return cipher.decrypt(nonce, text, owner.bytes).decode()
