"""The two messages of the Signal protocol on the wire, version 3.

Their protobufs are not among the engine's, and are small enough to be written by hand.
Source: `WhisperTextProtocol.proto` of the Signal protocol; public keys carry a leading 05.
"""

from dataclasses import dataclass

from tests.whatsapp.primitives import hmac_sha256

_VERSION = bytes([3 << 4 | 3])
_MAC_LENGTH = 8
_KEY_TYPE = b"\x05"


class BadSignalMessage(ValueError):
    """Bytes that are no Signal message, or one whose signature does not fit."""


def typed(public: bytes) -> bytes:
    """A public key as it is written on the wire and signed: 33 bytes, the first one 05."""
    return _KEY_TYPE + public


def untyped(key: bytes) -> bytes:
    """The 32 bytes of a public key read off the wire."""
    if len(key) != 33 or key[:1] != _KEY_TYPE:
        raise BadSignalMessage("not a Curve25519 public key")
    return key[1:]


@dataclass(frozen=True, slots=True)
class SignalMessage:
    """One ratchet message: who may read it is settled by the keys, not by this frame."""

    ratchet_key: bytes
    counter: int
    previous_counter: int
    ciphertext: bytes

    def serialize(self, mac_key: bytes, sender: bytes, receiver: bytes) -> bytes:
        """Write it, signed for the two parties' identity keys."""
        body = _VERSION + _write(
            {
                1: typed(self.ratchet_key),
                2: self.counter,
                3: self.previous_counter,
                4: self.ciphertext,
            }
        )
        return body + _mac(mac_key, sender, receiver, body)

    @classmethod
    def parse(cls, data: bytes) -> "SignalMessage":
        """Read it; the signature is checked by `check`, once the keys are known."""
        fields = read_fields(data[1:-_MAC_LENGTH])
        return cls(
            untyped(bytes_field(fields, 1)),
            int_field(fields, 2),
            int_field(fields, 3),
            bytes_field(fields, 4),
        )

    @staticmethod
    def check(data: bytes, mac_key: bytes, sender: bytes, receiver: bytes) -> bool:
        """Tell whether `data` was signed by `sender` for `receiver`."""
        body, mac = data[:-_MAC_LENGTH], data[-_MAC_LENGTH:]
        return _mac(mac_key, sender, receiver, body) == mac


@dataclass(frozen=True, slots=True)
class PrekeySignalMessage:
    """A ratchet message together with what its reader needs to open the session."""

    registration_id: int
    prekey_id: int | None
    signed_prekey_id: int
    base_key: bytes
    identity: bytes
    message: bytes

    def serialize(self) -> bytes:
        """Write it."""
        fields: dict[int, int | bytes] = {
            5: self.registration_id,
            6: self.signed_prekey_id,
            2: typed(self.base_key),
            3: typed(self.identity),
            4: self.message,
        }
        if self.prekey_id is not None:
            fields[1] = self.prekey_id
        return _VERSION + _write(fields)

    @classmethod
    def parse(cls, data: bytes) -> "PrekeySignalMessage":
        """Read it."""
        fields = read_fields(data[1:])
        return cls(
            registration_id=int_field(fields, 5),
            prekey_id=int_field(fields, 1) if 1 in fields else None,
            signed_prekey_id=int_field(fields, 6),
            base_key=untyped(bytes_field(fields, 2)),
            identity=untyped(bytes_field(fields, 3)),
            message=bytes_field(fields, 4),
        )


def _mac(key: bytes, sender: bytes, receiver: bytes, body: bytes) -> bytes:
    return hmac_sha256(key, typed(sender) + typed(receiver) + body)[:_MAC_LENGTH]


def _write(fields: dict[int, int | bytes]) -> bytes:
    out = bytearray()
    for number, value in fields.items():
        if isinstance(value, int):
            out += _varint(number << 3) + _varint(value)
        else:
            out += _varint(number << 3 | 2) + _varint(len(value)) + value
    return bytes(out)


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def read_fields(data: bytes) -> dict[int, int | bytes]:
    """The fields of a protobuf without repeated ones, by number."""
    fields: dict[int, int | bytes] = {}
    at = 0
    while at < len(data):
        key, at = _read_varint(data, at)
        number, at = _read_varint(data, at)
        match key & 7:
            case 0:
                fields[key >> 3] = number
            case 2:
                fields[key >> 3] = data[at : at + number]
                at += number
            case kind:
                raise BadSignalMessage(f"unknown field of kind {kind}")
    if at != len(data):
        raise BadSignalMessage("message ends early")
    return fields


def _read_varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    for at_byte in range(at, len(data)):
        value |= (data[at_byte] & 0x7F) << shift
        if data[at_byte] < 0x80:
            return value, at_byte + 1
        shift += 7
    raise BadSignalMessage("message ends early")


def int_field(fields: dict[int, int | bytes], number: int) -> int:
    """A number; 0 if it is absent."""
    value = fields.get(number, 0)
    if isinstance(value, int):
        return value
    raise BadSignalMessage(f"field {number} is no number")


def bytes_field(fields: dict[int, int | bytes], number: int) -> bytes:
    """Bytes; raises BadSignalMessage if they are absent."""
    value = fields.get(number)
    if isinstance(value, bytes):
        return value
    raise BadSignalMessage(f"field {number} is missing")
