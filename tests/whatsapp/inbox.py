"""What a phone receives: messages decrypted with its own keys, and receipts."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from tests.whatsapp.media import EncryptedMedia
from tests.whatsapp.nodes import Jid, Node
from tests.whatsapp.protobufs import Message
from tests.whatsapp.sender_keys import SenderKeys
from tests.whatsapp.signal_protocol import SignalDevice
from tests.whatsapp.signal_wire import BadSignalMessage

log = logging.getLogger(__name__)

Kind = Literal["text", "image", "video", "document", "audio", "sticker", "other"]
_WRAPPERS = ("documentWithCaptionMessage", "viewOnceMessageV2", "viewOnceMessageV2Extension")
_MEDIA_KINDS: tuple[Kind, ...] = ("image", "video", "document", "audio", "sticker")


@dataclass(frozen=True, slots=True)
class ReceivedMessage:
    """One decrypted message.

    `sender` is a number in digits, `proto` the `waE2E.Message`, `media` the decrypted file,
    `node_tags` the tags of the whole stanza as its sender sent it, and `from_own_device` tells
    that this is the copy of what a companion of the same account sent.
    """

    id: str
    sender: str
    proto: Any
    media: bytes | None
    node_tags: tuple[str, ...]
    from_own_device: bool

    @property
    def kind(self) -> Kind:
        """What sort of message it is."""
        kind, _ = _media_part(self.proto)
        return kind or ("text" if self.text else "other")

    @property
    def text(self) -> str:
        """The text of a text message; empty for a file."""
        return str(self.proto.conversation or self.proto.extendedTextMessage.text)

    @property
    def caption(self) -> str:
        """The text below a file."""
        return str(getattr(_media_part(self.proto)[1], "caption", ""))

    @property
    def file_name(self) -> str:
        """A document's name."""
        return str(getattr(_media_part(self.proto)[1], "fileName", ""))

    @property
    def mime_type(self) -> str:
        """The type that the sender gave for its file."""
        return str(getattr(_media_part(self.proto)[1], "mimetype", ""))


@dataclass(frozen=True, slots=True)
class ReceivedReceipt:
    """A client's word that it got (`kind` is empty) or read (`read`) a message."""

    message_id: str
    sender: str
    kind: str


class Inbox:
    """A phone's messages, decrypted as they arrive, and what could not be decrypted."""

    def __init__(self, device: SignalDevice) -> None:
        self._device = device
        self.sender_keys = SenderKeys(device)
        self.messages: list[ReceivedMessage] = []
        self.receipts: list[ReceivedReceipt] = []
        self.typing: list[str] = []
        self.undecryptable: list[str] = []
        self.auto_deliver = False
        self.asks_again = True

    def accept(
        self,
        stanza: Node,
        enc: Node,
        sender: Jid,
        sender_number: str,
        open_media: Callable[[str, EncryptedMedia], bytes],
    ) -> ReceivedMessage | None:
        """Decrypt what `stanza` holds for this device.

        Returns None if it cannot be decrypted; its id is then among `undecryptable`. Raises
        CorruptMedia if the message describes a file that the media server does not have.
        """
        message_id, group = stanza.text("id"), str(stanza.jid("to"))
        try:
            if enc.text("type") == "skmsg":
                plaintext = self.sender_keys.decrypt(group, str(sender), enc)
            else:
                plaintext = self._device.decrypt(str(sender), enc.text("type"), enc.data)
        except BadSignalMessage as error:
            log.warning("message %s cannot be decrypted: %s", message_id, error)
            self.undecryptable.append(message_id)
            return None
        proto = Message.FromString(plaintext)
        is_own = proto.HasField("deviceSentMessage")
        content = proto.deviceSentMessage.message if is_own else proto
        message = ReceivedMessage(
            id=message_id,
            sender=sender_number,
            proto=content,
            media=_open_media(content, open_media),
            node_tags=tuple(stanza.tags()),
            from_own_device=is_own,
        )
        self.messages.append(message)
        return message


def _media_part(proto: Any) -> tuple[Kind | None, Any]:
    """The file that a message describes, if any, with its kind."""
    wrapper = next((name for name in _WRAPPERS if proto.HasField(name)), None)
    content = getattr(proto, wrapper).message if wrapper else proto
    kind = next((kind for kind in _MEDIA_KINDS if content.HasField(f"{kind}Message")), None)
    return kind, getattr(content, f"{kind}Message", None)


def _open_media(proto: Any, open_media: Callable[[str, EncryptedMedia], bytes]) -> bytes | None:
    kind, part = _media_part(proto)
    if kind is None:
        return None
    described = EncryptedMedia(
        direct_path=part.directPath,
        media_key=part.mediaKey,
        sha256=part.fileSHA256,
        encrypted_sha256=part.fileEncSHA256,
        length=part.fileLength,
    )
    return open_media(kind, described)
