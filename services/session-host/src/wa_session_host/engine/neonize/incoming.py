"""WhatsApp's message protobuf on arrival: every kind becomes one observation.

`KINDS` decides about the fields of `waE2E.Message`; a field without a decision is `unsupported`.
"""

from base64 import b64encode
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Literal

from neonize.proto import Neonize_pb2 as proto
from neonize.proto.waE2E.WAWebProtobufsE2E_pb2 import Message, ProtocolMessage
from neonize.utils.enum import MediaType, MediaTypeToMMS

from wa_contracts.content import Contact, Location, Poll, Selection
from wa_session_host.domain.observations import (
    UNDECRYPTABLE,
    ChangeSeen,
    MessageDetails,
    MessageSeen,
    ReceivedMedia,
    Seen,
    chat_kind,
)

DOWNLOAD_AS = {
    "image": (MediaType.MediaImage, MediaTypeToMMS.MediaImage),
    "video": (MediaType.MediaVideo, MediaTypeToMMS.MediaVideo),
    "video_note": (MediaType.MediaVideo, MediaTypeToMMS.MediaVideo),
    "document": (MediaType.MediaDocument, MediaTypeToMMS.MediaDocument),
    "audio": (MediaType.MediaAudio, MediaTypeToMMS.MediaAudio),
    "voice": (MediaType.MediaAudio, MediaTypeToMMS.MediaAudio),
    "sticker": (MediaType.MediaImage, MediaTypeToMMS.MediaImage),
}

WRAPPERS = (
    "deviceSentMessage",
    "documentWithCaptionMessage",
    "ephemeralMessage",
    "groupMentionedMessage",
    "botInvokeMessage",
    "lottieStickerMessage",
    "viewOnceMessage",
    "viewOnceMessageV2",
    "viewOnceMessageV2Extension",
    "associatedChildMessage",
    "spoilerMessage",
)
"""Fields that hold another message, which is what counts."""

SILENT = frozenset(
    {
        "messageContextInfo",
        "senderKeyDistributionMessage",
        "fastRatchetKeySenderKeyDistributionMessage",
        "stickerSyncRmrMessage",
        "call",
        "chat",
        "messageHistoryBundle",
        "messageHistoryNotice",
        "placeholderMessage",
        "groupRootKeyShare",
        "rootSecretDistributeMessage",
        "statusLinkPreviewMetadata",
        "acp2SettingMessage",
        "limitSharingMessage",
        "botPlatformRegistrationSuccessMessage",
    }
)
"""Fields between devices, which nobody wrote: no event."""

KINDS: Mapping[str, str] = {
    "conversation": "text",
    "extendedTextMessage": "text",
    "imageMessage": "image",
    "videoMessage": "video",
    "ptvMessage": "video_note",
    "documentMessage": "document",
    "audioMessage": "audio",
    "stickerMessage": "sticker",
    "locationMessage": "location",
    "liveLocationMessage": "live_location",
    "contactMessage": "contact",
    "contactsArrayMessage": "contact",
    "pollCreationMessage": "poll",
    "pollCreationMessageV2": "poll",
    "pollCreationMessageV3": "poll",
    "pollCreationMessageV5": "poll",
    "buttonsResponseMessage": "button_reply",
    "templateButtonReplyMessage": "button_reply",
    "listResponseMessage": "list_reply",
    "interactiveMessage": "interactive",
    "interactiveResponseMessage": "interactive",
    "buttonsMessage": "template",
    "listMessage": "template",
    "templateMessage": "template",
    "highlyStructuredMessage": "template",
    "orderMessage": "order",
    "productMessage": "product",
    "eventMessage": "event",
    "groupInviteMessage": "group_invite",
}
"""The type in `message.received`, by the field."""

CHANGES = ("reactionMessage", "pollUpdateMessage", "protocolMessage", "editedMessage")
"""Fields that are about another message; other protocol messages are between devices."""


def undecryptable(event: proto.UndecryptableMessage) -> tuple[Seen, ...]:
    """A message that could not be decrypted. The engine asks for it again by itself."""
    return (_seen(event, UNDECRYPTABLE, None, MessageDetails()),)


def observed_message(event: proto.Message) -> tuple[Seen, ...]:
    """What an incoming message is; () for traffic between devices."""
    message = _unwrapped(event.Message)
    if message.HasField("editedMessage"):
        message = _unwrapped(message.editedMessage.message)
    if message.HasField("reactionMessage"):
        reaction = message.reactionMessage
        return (_change(event, "reacted", reaction.key, reaction.text),)
    if message.HasField("pollUpdateMessage"):
        return (_change(event, "voted", message.pollUpdateMessage.pollCreationMessageKey, None),)
    if message.HasField("protocolMessage"):
        return _protocol(event, message.protocolMessage)
    fields = [field.name for field, _ in message.ListFields() if field.name not in SILENT]
    if not fields:
        return ()
    known = next((name for name in fields if name in KINDS), None)
    if known is None:
        return (_seen(event, "unsupported", None, MessageDetails(unsupported=fields[0])),)
    part = getattr(message, known)
    kind = "voice" if KINDS[known] == "audio" and part.PTT else KINDS[known]
    return (_seen(event, kind, part, _details(kind, part)),)


def _unwrapped(message: Message) -> Message:
    for wrapper in WRAPPERS:
        if message.HasField(wrapper):
            return _unwrapped(getattr(message, wrapper).message)
    return message


def _protocol(event: proto.Message, told: ProtocolMessage) -> tuple[Seen, ...]:
    match told.type:
        case ProtocolMessage.REVOKE:
            return (_change(event, "revoked", told.key, None),)
        case ProtocolMessage.MESSAGE_EDIT:
            edited = [part for _, part in _unwrapped(told.editedMessage).ListFields()]
            return (_change(event, "edited", told.key, _text(edited[0]) if edited else None),)
        case _:
            return ()


def _change(
    event: proto.Message,
    change: Literal["reacted", "voted", "edited", "revoked"],
    key: Any,
    text: str | None,
) -> ChangeSeen:
    """A change; the key's `fromMe` is meant as its sender sees it."""
    source = event.Info.MessageSource
    number, lid = _addresses(source)
    is_judged = change in {"reacted", "voted"}
    of_own = key.fromMe == source.IsFromMe if is_judged else source.IsFromMe
    return ChangeSeen(
        change=change,
        stanza_id=event.Info.ID,
        of=key.ID,
        of_own=of_own,
        chat=_chat(source),
        sender=_jid(source.Sender),
        sender_number=number,
        sender_lid=lid,
        sender_name=event.Info.Pushname or None,
        is_own=source.IsFromMe,
        text=text,
        at=_at(event),
    )


def _seen(
    event: proto.Message | proto.UndecryptableMessage, kind: str, part: Any, details: MessageDetails
) -> MessageSeen:
    source = event.Info.MessageSource
    number, lid = _addresses(source)
    context = getattr(part, "contextInfo", None)
    more: dict[str, Any] = {
        "sender_name": event.Info.Pushname or None,
        "chat_kind": chat_kind(source.Chat.Server),
    }
    if context is not None:
        more["mentions"] = tuple(context.mentionedJID)
        more["is_forwarded"] = context.isForwarded
        more["expires_in_seconds"] = context.expiration or None
    return MessageSeen(
        message_id=event.Info.ID,
        chat=_chat(source),
        sender=_jid(source.Sender),
        sender_number=number,
        sender_lid=lid,
        kind=kind,
        text=None if part is None else _text(part),
        media=_media(kind, part) if kind in DOWNLOAD_AS else None,
        quoted_message_id=(context.stanzaID or None) if context is not None else None,
        is_group=source.IsGroup,
        at=_at(event),
        is_own=source.IsFromMe,
        details=details.model_copy(update=more),
    )


TEXTS = (
    *("text", "caption", "selectedDisplayText", "title", "hydratedContentText", "contentText"),
    *("message", "groupName", "name"),
)
"""Where a part has its text, in this order."""


def _text(part: Any) -> str | None:
    if isinstance(part, str):
        return part
    for name in TEXTS:
        value = getattr(part, name, None)
        if isinstance(value, str) and value:
            return value
    return None


def _details(kind: str, part: Any) -> MessageDetails:
    """The structured content of a part."""
    match kind:
        case "location" | "live_location":
            place = Location(
                latitude=part.degreesLatitude,
                longitude=part.degreesLongitude,
                name=getattr(part, "name", "") or None,
                address=getattr(part, "address", "") or None,
            )
            return MessageDetails(location=place)
        case "contact":
            cards = getattr(part, "contacts", (part,))
            found = (Contact(name=one.displayName, vcard=one.vcard) for one in cards)
            return MessageDetails(contacts=tuple(found))
        case "poll":
            options = tuple(one.optionName for one in part.options)
            number = part.selectableOptionsCount or len(options)
            return MessageDetails(poll=Poll(question=part.name, options=options, selectable=number))
        case "button_reply":
            chosen = getattr(part, "selectedButtonID", "") or getattr(part, "selectedID", "")
            return MessageDetails(selection=Selection(id=chosen, text=_text(part)))
        case "list_reply":
            row = part.singleSelectReply.selectedRowID
            return MessageDetails(selection=Selection(id=row, text=part.title or None))
        case _:
            return MessageDetails()


def _media(kind: str, part: Any) -> ReceivedMedia:
    return ReceivedMedia(
        kind=kind,
        direct_path=part.directPath,
        media_key=b64encode(part.mediaKey).decode(),
        sha256=b64encode(part.fileSHA256).decode(),
        encrypted_sha256=b64encode(part.fileEncSHA256).decode(),
        size=part.fileLength,
        mime_type=part.mimetype or "application/octet-stream",
        file_name=getattr(part, "fileName", "") or None,
    )


def _addresses(source: proto.MessageSource) -> tuple[str | None, str | None]:
    """The sender's number and LID, as far as WhatsApp names them."""
    addresses = {jid.Server: jid.User for jid in (source.SenderAlt, source.Sender) if jid.User}
    lid = addresses.get("lid")
    return addresses.get("s.whatsapp.net"), f"{lid}@lid" if lid else None


def _chat(source: proto.MessageSource) -> str:
    return _jid(source.Chat)


def _jid(jid: proto.JID) -> str:
    return f"{jid.User}@{jid.Server}"


def _at(event: proto.Message | proto.UndecryptableMessage) -> datetime:
    return datetime.fromtimestamp(event.Info.Timestamp / 1000, UTC)
