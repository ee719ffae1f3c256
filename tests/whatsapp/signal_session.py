"""The double ratchet between two devices, in both directions.

Source: https://signal.org/docs/specifications/doubleratchet, with libsignal's labels.
"""

from dataclasses import dataclass, field

from tests.whatsapp.primitives import KeyPair, decrypt_cbc, encrypt_cbc, hkdf, hmac_sha256
from tests.whatsapp.signal_wire import BadSignalMessage, SignalMessage

_REMEMBERED_CHAINS = 5
_LONGEST_SKIP = 2_000


@dataclass(frozen=True, slots=True)
class _MessageKeys:
    cipher: bytes
    mac: bytes
    iv: bytes


@dataclass(slots=True)
class _Chain:
    """One direction between two ratchet steps: a key that moves on with each message."""

    key: bytes
    index: int = 0
    skipped: dict[int, _MessageKeys] = field(default_factory=dict)

    def next(self) -> _MessageKeys:
        keys = hkdf(hmac_sha256(self.key, b"\x01"), 80, info=b"WhisperMessageKeys")
        self.key = hmac_sha256(self.key, b"\x02")
        self.index += 1
        return _MessageKeys(keys[:32], keys[32:64], keys[64:])

    def at(self, counter: int) -> _MessageKeys:
        """The keys of message `counter`; those passed over are kept for late messages."""
        if counter < self.index:
            if counter not in self.skipped:
                raise BadSignalMessage(f"message {counter} was already read")
            return self.skipped.pop(counter)
        if counter - self.index > _LONGEST_SKIP:
            raise BadSignalMessage(f"message {counter} is too far ahead")
        while self.index < counter:
            self.skipped[self.index] = self.next()
        return self.next()


class Session:
    """What two devices share once one of them has used the other's prekeys.

    Build it with `initiated` or `accepted`; `base_key` tells sessions of one peer apart.
    """

    def __init__(self, local: bytes, remote: bytes, base_key: bytes, root: bytes) -> None:
        self.base_key = base_key
        self._local = local
        self._remote = remote
        self._root = root
        self._ratchet = KeyPair.generate()
        self._sending: _Chain | None = None
        self._previous_counter = 0
        self._receiving: dict[bytes, _Chain] = {}

    @classmethod
    def initiated(
        cls, local: bytes, remote: bytes, base_key: bytes, secrets: bytes, remote_ratchet: bytes
    ) -> "Session":
        """The session of the device that sends first, to the signed prekey `remote_ratchet`."""
        root, chain = _agreed(secrets)
        session = cls(local, remote, base_key, root)
        session._receiving[remote_ratchet] = _Chain(chain)
        session._sending = session._step(remote_ratchet)
        return session

    @classmethod
    def accepted(
        cls, local: bytes, remote: bytes, base_key: bytes, secrets: bytes, ratchet: KeyPair
    ) -> "Session":
        """The session of the device whose signed prekey `ratchet` was used."""
        root, chain = _agreed(secrets)
        session = cls(local, remote, base_key, root)
        session._ratchet = ratchet
        session._sending = _Chain(chain)
        return session

    def encrypt(self, plaintext: bytes) -> bytes:
        """Encrypt and sign the next message."""
        if self._sending is None:
            raise AssertionError("a session has a sending chain from its birth")
        counter = self._sending.index
        keys = self._sending.next()
        message = SignalMessage(
            self._ratchet.public,
            counter,
            self._previous_counter,
            encrypt_cbc(keys.cipher, keys.iv, plaintext),
        )
        return message.serialize(keys.mac, self._local, self._remote)

    def decrypt(self, data: bytes) -> bytes:
        """Decrypt one message, in any order; raises BadSignalMessage if it is not of here."""
        message = SignalMessage.parse(data)
        chain = self._receiving.get(message.ratchet_key)
        if chain is not None:
            return self._open(data, message, chain)
        return self._open_with_new_chain(data, message)

    def _open_with_new_chain(self, data: bytes, message: SignalMessage) -> bytes:
        root_before = self._root
        chain = self._step(message.ratchet_key)
        try:
            plaintext = self._open(data, message, chain)
        except BadSignalMessage:
            self._root = root_before
            raise
        self._receiving[message.ratchet_key] = chain
        while len(self._receiving) > _REMEMBERED_CHAINS:
            del self._receiving[next(iter(self._receiving))]
        self._previous_counter = max((self._sending.index if self._sending else 0) - 1, 0)
        self._ratchet = KeyPair.generate()
        self._sending = self._step(message.ratchet_key)
        return plaintext

    def _open(self, data: bytes, message: SignalMessage, chain: _Chain) -> bytes:
        before = chain.key, chain.index, dict(chain.skipped)
        keys = chain.at(message.counter)
        if not SignalMessage.check(data, keys.mac, self._remote, self._local):
            chain.key, chain.index, chain.skipped = before
            raise BadSignalMessage("the signature does not fit")
        return decrypt_cbc(keys.cipher, keys.iv, message.ciphertext)

    def _step(self, remote_ratchet: bytes) -> _Chain:
        secret = self._ratchet.agree(remote_ratchet)
        keys = hkdf(secret, 64, salt=self._root, info=b"WhisperRatchet")
        self._root = keys[:32]
        return _Chain(keys[32:])


def _agreed(secrets: bytes) -> tuple[bytes, bytes]:
    keys = hkdf(b"\xff" * 32 + secrets, 64, info=b"WhisperText")
    return keys[:32], keys[32:]
