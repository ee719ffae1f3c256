"""`GET /api/events`: what happens, as Server-Sent Events."""

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated
from uuid import UUID

import structlog
from fastapi import APIRouter, Header, Query
from fastapi.responses import StreamingResponse

from wa_api.auth import ReaderOf
from wa_api.database import DatabaseUnavailable
from wa_api.feed import BATCH, FeedFilter
from wa_api.gateway import Gateway, TheGateway
from wa_api.problems import invalid_field
from wa_api.routes.documented import errors

log = structlog.get_logger()
router = APIRouter(tags=["events"])

HEARTBEAT_SECONDS = 15.0
RETRY_MILLISECONDS = 2000


@router.get(
    "/api/events",
    summary="Follow events",
    response_class=StreamingResponse,
    responses={
        200: {
            "description": "Each event's id is its position; its data is the envelope.",
            "content": {"text/event-stream": {"schema": {"type": "string"}}},
        },
        **errors(400, 401, 503),
    },
)
async def follow_events(
    gateway: TheGateway,
    reader: ReaderOf,
    session_id: Annotated[UUID | None, Query(alias="sessionId")] = None,
    type_: Annotated[str | None, Query(alias="type")] = None,
    last_event_id: Annotated[str | None, Header(description="Resume after this event.")] = None,
) -> StreamingResponse:
    """From now on, or after `Last-Event-ID`. A session's token sees its own events."""
    wanted = FeedFilter(reader.session_id or session_id, type_)
    if reader.session_id is not None and session_id not in {None, reader.session_id}:
        raise invalid_field("sessionId", "'sessionId' is not the session of this token.")
    position = await _start(last_event_id, gateway)
    return StreamingResponse(
        _stream(gateway, wanted, position),
        media_type="text/event-stream",
        headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
    )


async def _start(last_event_id: str | None, gateway: Gateway) -> int:
    if not last_event_id:
        return await gateway.feed.end()
    if not (last_event_id.isascii() and last_event_id.isdigit() and len(last_event_id) < 19):
        raise invalid_field("Last-Event-ID", "'Last-Event-ID' is not a position of this feed.")
    return int(last_event_id)


async def _stream(gateway: Gateway, wanted: FeedFilter, position: int) -> AsyncIterator[bytes]:
    """Ends when the process does, or the database goes: the client comes back with its position."""
    yield f"retry: {RETRY_MILLISECONDS}\n\n".encode()
    with gateway.live.watch() as watch:
        silent_since = asyncio.get_running_loop().time()
        while not watch.ended:
            try:
                entries = await gateway.feed.after(position, wanted)
            except DatabaseUnavailable:
                log.info("event_stream_ended", reason="database_unavailable")
                return
            for entry in entries:
                position = entry.position
                yield f"id: {position}\nevent: {entry.type}\ndata: {entry.event}\n\n".encode()
            now = asyncio.get_running_loop().time()
            silent_since = now if entries else silent_since
            if now - silent_since >= HEARTBEAT_SECONDS:
                silent_since = now
                yield b": alive\n\n"
            if len(entries) < BATCH:
                await watch.changed(HEARTBEAT_SECONDS - (now - silent_since))
