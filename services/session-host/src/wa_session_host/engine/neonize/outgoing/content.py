"""What a session sends and downloads: protobufs with uploaded media, decrypted files."""

import asyncio
from base64 import b64decode
from typing import Any

from neonize.proto.waE2E.WAWebProtobufsE2E_pb2 import (
    AudioMessage,
    DocumentMessage,
    FutureProofMessage,
    ImageMessage,
    Message,
    StickerMessage,
    VideoMessage,
)
from neonize.utils.enum import MediaType

from wa_contracts.internal.commands import MessageType
from wa_session_host.domain.observations import ReceivedMedia
from wa_session_host.engine.neonize.incoming import DOWNLOAD_AS
from wa_session_host.engine.neonize.outgoing import parts
from wa_session_host.engine.port import MediaFile, OutgoingMessage

UPLOAD_AS = {
    MessageType.IMAGE: MediaType.MediaImage,
    MessageType.VIDEO: MediaType.MediaVideo,
    MessageType.DOCUMENT: MediaType.MediaDocument,
    MessageType.AUDIO: MediaType.MediaAudio,
    MessageType.VOICE: MediaType.MediaAudio,
    MessageType.STICKER: MediaType.MediaImage,
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
        if message.parts.view_once:
            return parts.shown_once(built)
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
    if message.text and message.type.has_caption:
        fields["caption"] = message.text
    fields |= _details(media)
    match message.type:
        case MessageType.IMAGE:
            return Message(imageMessage=ImageMessage(**fields))
        case MessageType.VIDEO:
            return Message(videoMessage=VideoMessage(**fields))
        case MessageType.AUDIO | MessageType.VOICE:
            is_voice = message.type is MessageType.VOICE
            return Message(audioMessage=AudioMessage(**fields, PTT=is_voice))
        case MessageType.STICKER:
            return Message(stickerMessage=StickerMessage(**fields))
        case _:
            return _document(fields, media)


def _document(fields: dict[str, Any], media: MediaFile) -> Message:
    """A document. Phones show captions only of the wrapper."""
    name = media.file_name or "document"
    document = Message(documentMessage=DocumentMessage(**fields, fileName=name, title=name))
    if "caption" not in fields:
        return document
    return Message(documentWithCaptionMessage=FutureProofMessage(message=document))


def _details(media: MediaFile) -> dict[str, Any]:
    """What a phone shows before the download, as far as it is known."""
    if media.details is None:
        return {}
    known = media.details
    fields = {
        "width": known.width,
        "height": known.height,
        "JPEGThumbnail": b64decode(known.thumbnail) if known.thumbnail else None,
        "seconds": known.seconds,
        "waveform": b64decode(known.waveform) if known.waveform else None,
        "isAnimated": known.is_animated or None,
    }
    return {name: value for name, value in fields.items() if value is not None}


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
