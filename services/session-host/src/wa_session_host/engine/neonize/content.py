"""WhatsApp's message protobuf: built for sends, parsed on arrival."""

import asyncio
from base64 import b64decode, b64encode
from datetime import UTC, datetime
from typing import Any

from neonize.proto import Neonize_pb2 as proto
from neonize.proto.waE2E.WAWebProtobufsE2E_pb2 import (
    DocumentMessage,
    FutureProofMessage,
    ImageMessage,
    Message,
    VideoMessage,
)
from neonize.utils.enum import MediaType, MediaTypeToMMS

from wa_contracts.internal.commands import MessageType
from wa_session_host.domain.observations import MessageSeen, ReceivedMedia
from wa_session_host.engine.neonize import parts
from wa_session_host.engine.port import MediaFile, OutgoingMessage

UPLOAD_AS = {
    MessageType.IMAGE: MediaType.MediaImage,
    MessageType.VIDEO: MediaType.MediaVideo,
    MessageType.DOCUMENT: MediaType.MediaDocument,
}


DOWNLOAD_AS = {
    "image": (MediaType.MediaImage, MediaTypeToMMS.MediaImage),
    "video": (MediaType.MediaVideo, MediaTypeToMMS.MediaVideo),
    "document": (MediaType.MediaDocument, MediaTypeToMMS.MediaDocument),
    "audio": (MediaType.MediaAudio, MediaTypeToMMS.MediaAudio),
    "sticker": (MediaType.MediaImage, MediaTypeToMMS.MediaImage),
}


async def build(client: Any, message: OutgoingMessage, chat: str, own: str) -> Message:
    """Build a message's protobuf; upload its media first.

    `chat` is the JID that the message goes to, `own` the JID of the session's number.

    Raises:
        neonize.exc.UploadError: WhatsApp's media server refused or failed.
        OSError: the media file is gone.
    """
    if message.media is None:
        return parts.without_media(message, chat, own)
    built = await _with_media(client, message, message.media)
    if message.parts is not None:
        parts.add_context(built, message.parts, own)
    return built


async def _with_media(client: Any, message: OutgoingMessage, media: MediaFile) -> Message:
    data = await asyncio.to_thread(media.path.read_bytes)
    uploaded = await client.upload(data, UPLOAD_AS[message.type])
    fields = {
        "URL": uploaded.url,
        "directPath": uploaded.DirectPath,
        "mediaKey": uploaded.MediaKey,
        "fileEncSHA256": uploaded.FileEncSHA256,
        "fileSHA256": uploaded.FileSHA256,
        "fileLength": uploaded.FileLength,
        "mimetype": media.mime_type,
    }
    if message.text:
        fields["caption"] = message.text
    match message.type:
        case MessageType.IMAGE:
            return Message(imageMessage=ImageMessage(**fields, **_shown(media)))
        case MessageType.VIDEO:
            return Message(videoMessage=VideoMessage(**fields))
        case _:
            return _document(fields, media)


def _document(fields: dict[str, Any], media: MediaFile) -> Message:
    """A document. Phones show captions only of the wrapper."""
    name = media.file_name or "document"
    document = Message(documentMessage=DocumentMessage(**fields, fileName=name, title=name))
    if "caption" not in fields:
        return document
    return Message(documentWithCaptionMessage=FutureProofMessage(message=document))


def _shown(media: MediaFile) -> dict[str, Any]:
    """Width, height and thumbnail; empty without a preview."""
    if media.preview is None:
        return {}
    return {
        "width": media.preview.width,
        "height": media.preview.height,
        "JPEGThumbnail": b64decode(media.preview.thumbnail),
    }


async def download(client: Any, media: ReceivedMedia) -> bytes:
    """Download incoming media, decrypt it and check its hashes.

    Raises:
        neonize.exc.DownloadError: WhatsApp's media server refused or failed, or a hash differs.
    """
    kind, server_kind = DOWNLOAD_AS[media.kind]
    data: bytes = await client.download_media_with_path(
        media.direct_path,
        b64decode(media.encrypted_sha256),
        b64decode(media.sha256),
        b64decode(media.media_key),
        media.size,
        kind,
        server_kind,
    )
    return data


def received_message(event: proto.Message) -> tuple[MessageSeen, ...]:
    """Parse an incoming message; () for own and protocol messages."""
    source = event.Info.MessageSource
    described = _described(_unwrapped(event.Message))
    if described is None or source.IsFromMe:
        return ()
    kind, text, part = described
    addresses = {jid.Server: jid.User for jid in (source.SenderAlt, source.Sender) if jid.User}
    lid = addresses.get("lid")
    return (
        MessageSeen(
            message_id=event.Info.ID,
            chat=f"{source.Chat.User}@{source.Chat.Server}",
            sender=f"{source.Sender.User}@{source.Sender.Server}",
            sender_number=addresses.get("s.whatsapp.net"),
            sender_lid=f"{lid}@lid" if lid else None,
            kind=kind,
            text=text,
            media=_media(kind, part) if kind in DOWNLOAD_AS else None,
            quoted_message_id=part.contextInfo.stanzaID or None if part is not None else None,
            is_group=source.IsGroup,
            at=datetime.fromtimestamp(event.Info.Timestamp / 1000, UTC),
        ),
    )


def _unwrapped(message: Message) -> Message:
    for wrapper in ("documentWithCaptionMessage", "ephemeralMessage", "viewOnceMessage"):
        if message.HasField(wrapper):
            return _unwrapped(getattr(message, wrapper).message)
    return message


def _described(message: Message) -> tuple[str, str | None, Any] | None:
    """Kind, text or caption, and the part with further fields; a plain text has no part."""
    if message.HasField("conversation"):
        return "text", message.conversation, None
    if message.HasField("extendedTextMessage"):
        return "text", message.extendedTextMessage.text, message.extendedTextMessage
    for kind in DOWNLOAD_AS:
        if message.HasField(f"{kind}Message"):
            part = getattr(message, f"{kind}Message")
            return kind, getattr(part, "caption", "") or None, part
    return None


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
