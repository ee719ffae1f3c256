"""`GET /api/messages/{id}/media` and links: the media of an incoming message."""

import re
from datetime import UTC, datetime
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import APIRouter, Depends, Query, Response
from fastapi.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from wa_api.access.callers import MayRead
from wa_api.access.media_links import MediaLinks
from wa_api.http.documented import errors
from wa_api.http.models import Text
from wa_api.http.parts import Part
from wa_api.http.problems import Problem, from_owner, media_store_unavailable, not_found
from wa_api.messages.media_downloads import Download, KeptDownload, MediaDownloads
from wa_api.messages.requests import MessageRequests
from wa_api.messages.views import Message
from wa_api.sessions.views import SessionViews
from wa_runtime.media_store.store import StoreUnavailable

router = APIRouter(prefix="/api/messages", tags=["messages"])
links = APIRouter(prefix="/api/links", tags=["messages"])

_MIME_TYPE = re.compile(r"[A-Za-z0-9.+-]{1,60}/[A-Za-z0-9.+-]{1,120}")
_UNKNOWN_TYPE = "application/octet-stream"
_WITHOUT_MEDIA = frozenset({"text"})
_FILE: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The file, decrypted, with its sender's MIME type and file name.",
        "content": {_UNKNOWN_TYPE: {"schema": {"type": "string", "format": "binary"}}},
    }
}


class MediaResponse(StreamingResponse):
    """Streams a download and closes it at the end, also after an error."""

    def __init__(self, download: Download | KeptDownload, message: Message) -> None:
        self._download = download
        super().__init__(
            download.content(),
            media_type=_mime_type(download.offer.mime_type),
            headers={
                "Content-Length": str(download.offer.size),
                "Content-Disposition": _disposition(download.offer.file_name, message),
                "Cache-Control": "private, no-store",
                # The file is from a stranger: a browser that displays it must run nothing in it.
                "Content-Security-Policy": "default-src 'none'; sandbox",
            },
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            await self._download.close()


@router.get(
    "/{key}/media",
    summary="Media of an incoming message",
    response_class=Response,
    responses={**_FILE, **errors(400, 401, 403, 404, 409, 410, 413, 500, 503)},
)
async def get_media(
    key: Text,
    requests: Part[MessageRequests],
    downloads: Part[MediaDownloads],
    sessions: Part[SessionViews],
    caller: MayRead,
) -> MediaResponse:
    """A file that the session keeps (`keepMedia`) comes from the media store, at any time. Others
    come from WhatsApp through the message's session, which must be working.
    """
    message = await requests.look_up(key, caller.sessions)
    if message is None:
        raise not_found("message")
    if message.direction != "incoming" or message.type in _WITHOUT_MEDIA:
        raise Problem("media_not_found", "This message has no media: only incoming media is kept.")
    return await _media_of(message, downloads, sessions)


async def _linked_message(
    message_id: Text,
    expires: Annotated[int, Query(description="The link's end, in seconds since 1970.")],
    signature: Annotated[Text, Query(max_length=128)],
    signed: Part[MediaLinks],
    requests: Part[MessageRequests],
) -> Message:
    signed.check(message_id, expires, signature)
    message = await requests.look_up(message_id, None)
    if message is None:
        raise not_found("message")
    return message


@links.get(
    "/{message_id}",
    summary="Media by a link",
    response_class=Response,
    responses={**_FILE, **errors(400, 403, 404, 409, 410, 413, 500, 503)},
)
async def get_linked_media(
    message: Annotated[Message, Depends(_linked_message)],
    downloads: Part[MediaDownloads],
    sessions: Part[SessionViews],
) -> MediaResponse:
    """What webhooks with `includeMedia` name as `mediaUrl`: the media of one incoming message, for
    whoever has the link, until it ends.
    """
    return await _media_of(message, downloads, sessions)


async def _media_of(
    message: Message, downloads: MediaDownloads, sessions: SessionViews
) -> MediaResponse:
    """From the media store, else from WhatsApp through the session."""
    is_store_away, known = False, None
    try:
        known = await downloads.known(message)
    except StoreUnavailable:
        is_store_away = True
    if known is not None and known.failure is None and known.expires_at > datetime.now(UTC):
        return MediaResponse(await downloads.open_kept(message, known), message)
    try:
        await _check_session(sessions, message)
    except Problem as problem:
        if is_store_away:
            raise media_store_unavailable() from problem
        if known is not None and known.failure is not None:
            raise from_owner(known.failure) from problem
        raise
    return MediaResponse(await downloads.open(message), message)


async def _check_session(sessions: SessionViews, message: Message) -> None:
    """Refuse at once what the owner would refuse, and sessions without an owner."""
    session = await sessions.session(message.session_id)
    if session is None:
        raise not_found("session")
    if not session.is_logged_in:
        raise Problem(
            f"session_{session.status}",
            f"Media comes through a session that works; this one is {session.status}. "
            "Try again when it works.",
        )


def _mime_type(claimed: str) -> str:
    """The sender's MIME type without parameters, if it is safe in a header."""
    kind = claimed.partition(";")[0].strip()
    return kind if _MIME_TYPE.fullmatch(kind) else _UNKNOWN_TYPE


def _disposition(file_name: str | None, message: Message) -> str:
    """An attachment with the sender's file name, or one made from the message's id."""
    name = file_name or f"{message.type}-{message.id}"
    plain = re.sub(r"[^A-Za-z0-9._ -]", "_", name)
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"
