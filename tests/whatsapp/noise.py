"""The server's side of `Noise_XX_25519_AESGCM_SHA256`, as WhatsApp Web uses it.

Source: the engine's `socket` package and `handshake.go`.
"""

import hashlib
import time
from dataclasses import dataclass
from typing import Self

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from tests.whatsapp.primitives import KeyPair, hkdf
from tests.whatsapp.protobufs import CertChain, HandshakeMessage

_PATTERN = b"Noise_XX_25519_AESGCM_SHA256".ljust(32, b"\0")
CLIENT_HEADER = b"WA\x06\x03"
_CERTIFICATE_LIFE_SECONDS = 86_400


@dataclass(frozen=True, slots=True)
class ServerIdentity:
    """The server's static key, certified by a root that the engine must be told to trust."""

    root_public: bytes
    static: KeyPair
    certificate: bytes

    @classmethod
    def generate(cls) -> Self:
        """Make a root, an intermediate and a leaf certificate, valid for a day."""
        root, intermediate, static = (KeyPair.generate() for _ in range(3))
        chain = CertChain()
        _certify(chain.intermediate, serial=1, issuer_serial=0, subject=intermediate, issuer=root)
        _certify(chain.leaf, serial=2, issuer_serial=1, subject=static, issuer=intermediate)
        return cls(root.public, static, chain.SerializeToString())


def _certify(
    certificate: CertChain, *, serial: int, issuer_serial: int, subject: KeyPair, issuer: KeyPair
) -> None:
    now = int(time.time())
    details = CertChain.NoiseCertificate.Details(
        serial=serial,
        issuerSerial=issuer_serial,
        key=subject.public,
        notBefore=now - _CERTIFICATE_LIFE_SECONDS,
        notAfter=now + _CERTIFICATE_LIFE_SECONDS,
    ).SerializeToString()
    certificate.details = details
    certificate.signature = issuer.sign(details)


class _Cipher:
    """AES-GCM with a counter for a nonce."""

    def __init__(self, key: bytes) -> None:
        self._aead = AESGCM(key)
        self._counter = 0

    def encrypt(self, plaintext: bytes, associated: bytes = b"") -> bytes:
        return self._aead.encrypt(self._nonce(), plaintext, associated)

    def decrypt(self, ciphertext: bytes, associated: bytes = b"") -> bytes:
        return self._aead.decrypt(self._nonce(), ciphertext, associated)

    def _nonce(self) -> bytes:
        self._counter += 1
        return bytes(8) + (self._counter - 1).to_bytes(4)


@dataclass(frozen=True, slots=True)
class NoiseSession:
    """An established channel: what the client proved, and the two ciphers.

    `encrypt` and `decrypt` count frames, so call each exactly once a frame and in order.
    """

    client_static: bytes
    client_payload: bytes
    _inbound: _Cipher
    _outbound: _Cipher

    def encrypt(self, payload: bytes) -> bytes:
        """Encrypt the next payload to the client."""
        return self._outbound.encrypt(payload)

    def decrypt(self, frame: bytes) -> bytes:
        """Decrypt the client's next frame; raises cryptography's InvalidTag if it was altered."""
        return self._inbound.decrypt(frame)


class ServerHandshake:
    """One handshake: `answer` the client's hello, then `finish` with its last message."""

    def __init__(self, identity: ServerIdentity) -> None:
        self._identity = identity
        self._hash = self._salt = _PATTERN
        self._cipher = _Cipher(_PATTERN)
        self._ephemeral = KeyPair.generate()
        self._mix_hash(CLIENT_HEADER)

    def answer(self, client_hello: bytes) -> bytes:
        """Return the server's hello: ephemeral key, static key, certificate chain."""
        client_ephemeral = HandshakeMessage.FromString(client_hello).clientHello.ephemeral
        self._mix_hash(client_ephemeral)
        self._mix_hash(self._ephemeral.public)
        self._mix_key(self._ephemeral.agree(client_ephemeral))
        static = self._encrypt(self._identity.static.public)
        self._mix_key(self._identity.static.agree(client_ephemeral))
        certificate = self._encrypt(self._identity.certificate)
        answer = HandshakeMessage()
        answer.serverHello.ephemeral = self._ephemeral.public
        answer.serverHello.static = static
        answer.serverHello.payload = certificate
        return bytes(answer.SerializeToString())

    def finish(self, client_finish: bytes) -> NoiseSession:
        """Read the client's static key and payload, and return the channel."""
        message = HandshakeMessage.FromString(client_finish).clientFinish
        client_static = self._decrypt(message.static)
        self._mix_key(self._ephemeral.agree(client_static))
        payload = self._decrypt(message.payload)
        keys = hkdf(b"", 64, salt=self._salt)
        return NoiseSession(client_static, payload, _Cipher(keys[:32]), _Cipher(keys[32:]))

    def _mix_hash(self, data: bytes) -> None:
        self._hash = hashlib.sha256(self._hash + data).digest()

    def _mix_key(self, secret: bytes) -> None:
        keys = hkdf(secret, 64, salt=self._salt)
        self._salt, self._cipher = keys[:32], _Cipher(keys[32:])

    def _encrypt(self, plaintext: bytes) -> bytes:
        ciphertext = self._cipher.encrypt(plaintext, self._hash)
        self._mix_hash(ciphertext)
        return ciphertext

    def _decrypt(self, ciphertext: bytes) -> bytes:
        plaintext = self._cipher.decrypt(ciphertext, self._hash)
        self._mix_hash(ciphertext)
        return plaintext
