"""The curve, key derivation and ciphers that WhatsApp builds on.

Keys are raw 32-byte strings of Curve25519. Signatures are XEdDSA, 64 bytes, and keep the sign of
the Edwards point in the highest bit of the last byte.
Source: https://signal.org/docs/specifications/xeddsa and the engine's `ecc` package.
"""

import hashlib
import hmac
import os
from dataclasses import dataclass
from typing import Self

import xeddsa
from cryptography.hazmat.primitives import hashes, padding
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

_SIGN_BIT = 0x80


@dataclass(frozen=True, slots=True)
class KeyPair:
    """A Curve25519 key pair that agrees on secrets and signs."""

    private: bytes
    public: bytes

    @classmethod
    def generate(cls) -> Self:
        """Make a new pair from the operating system's randomness."""
        scalar = bytearray(os.urandom(32))
        scalar[0] &= 248
        scalar[31] = (scalar[31] & 127) | 64
        private = bytes(scalar)
        return cls(private, xeddsa.priv_to_curve25519_pub(private))

    def agree(self, public: bytes) -> bytes:
        """Return the 32-byte secret shared with the owner of `public`."""
        return bytes(xeddsa.x25519(self.private, public))

    def sign(self, message: bytes) -> bytes:
        """Return the 64-byte XEdDSA signature of `message`."""
        return bytes(xeddsa.ed25519_priv_sign(xeddsa.priv_force_sign(self.private, False), message))


def verify(public: bytes, message: bytes, signature: bytes) -> bool:
    """Tell whether `signature` over `message` was made by the owner of `public`."""
    if len(signature) != 64:
        return False
    negative = bool(signature[63] & _SIGN_BIT)
    edwards = xeddsa.curve25519_pub_to_ed25519_pub(public, negative)
    plain = signature[:63] + bytes([signature[63] & ~_SIGN_BIT])
    return bool(xeddsa.ed25519_verify(plain, edwards, message))


def hkdf(secret: bytes, length: int, *, salt: bytes | None = None, info: bytes = b"") -> bytes:
    """Derive `length` bytes from `secret` with HKDF-SHA256 (no salt means 32 zero bytes)."""
    return HKDF(hashes.SHA256(), length, salt, info).derive(secret)


def hmac_sha256(key: bytes, message: bytes) -> bytes:
    """Return the 32-byte HMAC-SHA256 of `message`."""
    return hmac.digest(key, message, hashlib.sha256)


def encrypt_cbc(key: bytes, iv: bytes, plaintext: bytes) -> bytes:
    """Encrypt with AES-CBC and PKCS#7 padding."""
    padder = padding.PKCS7(128).padder()
    encryptor = Cipher(algorithms.AES(key), modes.CBC(iv)).encryptor()
    return encryptor.update(padder.update(plaintext) + padder.finalize()) + encryptor.finalize()


def decrypt_cbc(key: bytes, iv: bytes, ciphertext: bytes) -> bytes:
    """Decrypt AES-CBC with PKCS#7 padding; raises ValueError if the padding is wrong."""
    decryptor = Cipher(algorithms.AES(key), modes.CBC(iv)).decryptor()
    unpadder = padding.PKCS7(128).unpadder()
    padded = decryptor.update(ciphertext) + decryptor.finalize()
    return unpadder.update(padded) + unpadder.finalize()


def apply_ctr(key: bytes, iv: bytes, data: bytes) -> bytes:
    """Encrypt or decrypt (it is the same operation) with AES-CTR."""
    cipher = Cipher(algorithms.AES(key), modes.CTR(iv)).encryptor()
    return cipher.update(data) + cipher.finalize()
