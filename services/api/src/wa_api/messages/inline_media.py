"""Media of a send: an upload named by its id, or a `data:` URL that becomes an upload."""

import asyncio
import binascii
import re
from base64 import b64decode
from uuid import UUID

from wa_api.http.problems import Problem, invalid_field
from wa_api.messages.send_request import SendRequest
from wa_api.messages.views import MessageViews
from wa_api.uploads.uploads import Uploads, key_of
from wa_contracts.ids import SessionId, message_id_for_key
from wa_contracts.internal.content import StoredMedia

DATA_SCHEME = "data:"
_HEAD = re.compile(r"data:([^,;]*)((?:;[^,;]*)*),", re.IGNORECASE)
_HEAD_LIMIT = 1024
UNKNOWN_TYPE = "application/octet-stream"


def is_inline(media_url: str | None) -> bool:
    """Whether the media itself stands in the request."""
    return media_url is not None and media_url[: len(DATA_SCHEME)].lower() == DATA_SCHEME


async def stored_media(
    request: SendRequest,
    session_id: SessionId,
    uploads: Uploads,
    *,
    max_bytes: int,
    views: MessageViews,
    idempotency_key: str | None,
) -> StoredMedia | None:
    """The upload that the message sends; None for another source or none.

    Raises:
        Problem: 400 for a malformed `data:` URL; 404 for an unknown upload; 413, 429, 503.
        StoreUnavailable, DatabaseUnavailable: the upload cannot be stored or looked up.
    """
    if not request.type.has_media:
        return None
    if request.media_url is not None and is_inline(request.media_url):
        mime_type, data = await asyncio.to_thread(_decoded, request.media_url, max_bytes)
        upload = await uploads.receive_inline(session_id, data, mime_type)
        key = key_of(session_id, upload.media_id)
        return StoredMedia(key=key, mime_type=mime_type)
    if request.media_id is None:
        return None
    try:
        media_id = UUID(request.media_id)
        _, stored = await uploads.found({session_id}, media_id)
    except ValueError as error:
        raise Problem("media_not_found", "'mediaId' names no upload.") from error
    except Problem:
        if idempotency_key is None or not await views.has_message(
            message_id_for_key(session_id, idempotency_key)
        ):
            raise
        # A repeat gets the first answer, also when the upload is gone.
        return StoredMedia(key=key_of(session_id, media_id), mime_type=UNKNOWN_TYPE)
    return stored


def _decoded(url: str, max_bytes: int) -> tuple[str, bytes]:
    """Type and content of a `data:` URL. Raises Problem."""
    head = _HEAD.match(url, 0, _HEAD_LIMIT)
    if head is None or ";base64" not in head[2].lower():
        raise invalid_field(
            "mediaUrl", "'mediaUrl' must be data:<type>;base64,<content> if it is a data: URL."
        )
    if (len(url) - head.end()) * 3 // 4 > max_bytes + 2:
        raise _too_large(max_bytes)
    try:
        data = b64decode(url[head.end() :].encode("ascii"), validate=True)
    except (binascii.Error, ValueError) as error:
        raise invalid_field("mediaUrl", "'mediaUrl' has content that is not base64.") from error
    if not data:
        raise invalid_field("mediaUrl", "'mediaUrl' has no content.")
    if len(data) > max_bytes:
        raise _too_large(max_bytes)
    return head[1].strip().lower() or UNKNOWN_TYPE, data


def _too_large(limit: int) -> Problem:
    return Problem(
        "media_too_large",
        f"A data: URL carries at most {limit} bytes (MEDIA_INLINE_MAX_BYTES): "
        "upload the file with POST /api/media.",
    )
