"""Protobufs that change an earlier message: an edit, a deletion for everyone.

neonize's own revoke names the session by its LID, which phones take for an admin's revoke.
"""

from datetime import UTC, datetime

from neonize.proto.waCommon.WACommon_pb2 import MessageKey
from neonize.proto.waE2E.WAWebProtobufsE2E_pb2 import (
    DocumentMessage,
    FutureProofMessage,
    ImageMessage,
    Message,
    ProtocolMessage,
    VideoMessage,
)

from wa_contracts.internal.content import Change, MessageReference


def message_key(of: MessageReference, chat: str) -> MessageKey:
    """The key of another message in this chat, as WhatsApp names it."""
    key = MessageKey(remoteJID=chat, fromMe=of.sender is None, ID=of.message_id)
    if of.sender is not None and chat.endswith("@g.us"):
        key.participant = of.sender
    return key


def edit(change: Change, text: str, chat: str) -> Message:
    """The message gets another text, or its file another caption."""
    told = ProtocolMessage(
        key=message_key(change.of, chat),
        type=ProtocolMessage.MESSAGE_EDIT,
        editedMessage=_content(change.of_type, text),
        timestampMS=milliseconds_now(),
    )
    return Message(editedMessage=FutureProofMessage(message=Message(protocolMessage=told)))


def revoke(change: Change, chat: str) -> Message:
    """The message is deleted for everyone: the session's own, or by a group's admin another's."""
    told = ProtocolMessage(key=message_key(change.of, chat), type=ProtocolMessage.REVOKE)
    return Message(protocolMessage=told)


def milliseconds_now() -> int:
    """The time in WhatsApp's unit."""
    return round(datetime.now(UTC).timestamp() * 1000)


def _content(kind: str, text: str) -> Message:
    match kind:
        case "image":
            return Message(imageMessage=ImageMessage(caption=text))
        case "video":
            return Message(videoMessage=VideoMessage(caption=text))
        case "document":
            document = Message(documentMessage=DocumentMessage(caption=text))
            return Message(documentWithCaptionMessage=FutureProofMessage(message=document))
        case _:
            return Message(conversation=text)
