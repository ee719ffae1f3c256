"""What a member of a group decrypts: a sender's chain, told to each member with the first message.

Source: `WhisperTextProtocol.proto` of the Signal protocol, and libsignal's labels.
"""

from dataclasses import dataclass, field

from tests.whatsapp.nodes import Node
from tests.whatsapp.primitives import decrypt_cbc, hkdf, hmac_sha256, verify
from tests.whatsapp.protobufs import Message
from tests.whatsapp.signal_protocol import SignalDevice
from tests.whatsapp.signal_wire import (
    BadSignalMessage,
    bytes_field,
    int_field,
    read_fields,
    untyped,
)

_SIGNATURE_LENGTH = 64


@dataclass
class _Chain:
    key: bytes
    iteration: int
    signing: bytes

    def read(self, data: bytes) -> bytes:
        """The padded plaintext of a message."""
        body, signature = data[:-_SIGNATURE_LENGTH], data[-_SIGNATURE_LENGTH:]
        if not verify(self.signing, body, signature):
            raise BadSignalMessage("the group message is not its sender's")
        fields = read_fields(body[1:])
        if int_field(fields, 2) < self.iteration:
            raise BadSignalMessage("the group message was already read")
        while self.iteration < int_field(fields, 2):
            self._step()
        keys = hkdf(hmac_sha256(self.key, b"\x01"), 48, info=b"WhisperGroup")
        self._step()
        return decrypt_cbc(keys[16:], keys[:16], bytes_field(fields, 3))

    def _step(self) -> None:
        self.key, self.iteration = hmac_sha256(self.key, b"\x02"), self.iteration + 1


@dataclass
class SenderKeys:
    """The chains that one phone was told."""

    device: SignalDevice
    _chains: dict[tuple[str, str], _Chain] = field(default_factory=dict)

    def learn(self, group: str, sender: str, enc: Node) -> None:
        """Keep the chain that comes with a group's message."""
        proto = Message.FromString(self.device.decrypt(sender, enc.text("type"), enc.data))
        told = proto.senderKeyDistributionMessage.axolotlSenderKeyDistributionMessage
        fields = read_fields(told[1:])
        key, signing = bytes_field(fields, 3), untyped(bytes_field(fields, 4))
        self._chains[group, sender] = _Chain(key, int_field(fields, 2), signing)

    def decrypt(self, group: str, sender: str, enc: Node) -> bytes:
        """Decrypt and unpad; raises BadSignalMessage without the chain."""
        chain = self._chains.get((group, sender))
        if chain is None:
            raise BadSignalMessage(f"no sender key of {sender} in {group}")
        padded = chain.read(enc.data)
        return padded[: -padded[-1]]
