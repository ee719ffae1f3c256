"""`POST /api/media`, `GET` and `DELETE /api/media/{id}`: files to send by their id."""

import re
from collections.abc import AsyncIterator
from typing import Annotated
from urllib.parse import quote
from uuid import UUID

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import StreamingResponse

from wa_api.access.callers import MaySend, MaySendOrRead
from wa_api.access.credentials import Credentials
from wa_api.http.documented import errors
from wa_api.http.models import Text
from wa_api.http.parts import Part
from wa_api.http.problems import Problem, not_found
from wa_api.uploads.upload_body import UNKNOWN_TYPE, incoming_file
from wa_api.uploads.uploads import Upload, Uploads

router = APIRouter(prefix="/api/media", tags=["media"])

_MIME_TYPE = re.compile(r"[A-Za-z0-9.+-]{1,60}/[A-Za-z0-9.+-]{1,120}")
_BINARY = {"schema": {"type": "string", "format": "binary"}}


@router.post(
    "",
    status_code=201,
    summary="Upload a file",
    responses=errors(400, 401, 403, 404, 408, 413, 429, 503),
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {
                UNKNOWN_TYPE: _BINARY,
                "multipart/form-data": {
                    "schema": {
                        "type": "object",
                        "properties": {"file": {"type": "string", "format": "binary"}},
                        "required": ["file"],
                    }
                },
            },
        }
    },
)
async def upload_media(
    request: Request,
    uploads: Part[Uploads],
    credentials: Part[Credentials],
    caller: MaySend,
    *,
    session_id: Annotated[
        UUID | None,
        Query(alias="sessionId", description="Required, except with a session's token."),
    ] = None,
    file_name: Annotated[
        Text | None, Query(alias="fileName", max_length=255, description="Of a raw body.")
    ] = None,
) -> Upload:
    """Stores the file for `MEDIA_DAYS`, under one session, which may send it. At most
    `MEDIA_MAX_BYTES`; the body is the file, or a form with one file.
    """
    session = caller.session_to_send(session_id)
    if await credentials.of_session(session) is None:
        raise not_found("session")
    return await uploads.receive(session, await incoming_file(request, file_name))


@router.get(
    "/{media_id}",
    summary="An upload",
    response_model=Upload,
    responses={
        200: {
            "description": "The file; with `Accept: application/json` what is known about it.",
            "content": {UNKNOWN_TYPE: _BINARY},
        },
        **errors(401, 403, 404, 503),
    },
)
async def get_media(
    media_id: Text, request: Request, uploads: Part[Uploads], caller: MaySendOrRead
) -> Response:
    """Returns the file as it was uploaded."""
    upload, stored = await uploads.found(caller.sessions, _id(media_id))
    if request.headers.get("accept", "").partition(";")[0].strip() == "application/json":
        return Response(upload.model_dump_json(), media_type="application/json")
    content = uploads.read(stored)
    first = await anext(content, b"")  # a store that is away answers 503, not a short 200
    kind = upload.mime_type.partition(";")[0].strip()
    name = quote(stored.file_name or str(upload.media_id), safe="")
    return StreamingResponse(
        _from_first(first, content),
        media_type=kind if _MIME_TYPE.fullmatch(kind) else UNKNOWN_TYPE,
        headers={
            "Content-Length": str(upload.size),
            "Content-Disposition": f"attachment; filename*=UTF-8''{name}",
            "Cache-Control": "private, no-store",
            "Content-Security-Policy": "default-src 'none'; sandbox",
        },
    )


@router.delete(
    "/{media_id}", status_code=204, summary="Delete an upload", responses=errors(401, 403, 404, 503)
)
async def delete_media(media_id: Text, uploads: Part[Uploads], caller: MaySend) -> None:
    """Deletes the file at once. A message that is still to send it fails with
    `media_unavailable`.
    """
    await uploads.delete(caller.sessions, _id(media_id))


def _id(given: str) -> UUID:
    """Raises Problem: 404 for what is no id."""
    try:
        return UUID(given)
    except ValueError as error:
        raise Problem("media_not_found", "There is no such upload, or it has expired.") from error


async def _from_first(first: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield first
    async for chunk in rest:
        yield chunk
