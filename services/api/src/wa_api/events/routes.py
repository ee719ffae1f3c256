"""`GET /api/events`: events as Server-Sent Events."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Annotated
from uuid import UUID

import structlog
from fastapi import APIRouter, Header, Query, Request
from fastapi.responses import StreamingResponse
from pydantic import Field
from starlette.types import Receive, Scope, Send

from wa_api.access import scopes
from wa_api.access.api_keys import ApiKeys
from wa_api.access.caller import Caller, CallerKind
from wa_api.access.callers import bearer, caller_with
from wa_api.access.concurrency import TooMany
from wa_api.access.credentials import Credentials
from wa_api.database.notifications import Notifications
from wa_api.database.pool import DatabaseUnavailable
from wa_api.events.feed import FeedFilter
from wa_api.events.patterns import CHOICES, UnknownEvent, events_meant
from wa_api.events.streams import EventStreams
from wa_api.events.tail import FeedTail
from wa_api.http.documented import errors
from wa_api.http.parts import Part, Parts, parts_of
from wa_api.http.problems import Problem, invalid_field

log = structlog.get_logger()
router = APIRouter(tags=["events"])

HEARTBEAT_SECONDS = 15.0
RECHECK_SECONDS = 5.0
"""A stream of an expired key ends within this time; that of a revoked key or token at once, or
within this time if the database did not tell."""
RETRY_MILLISECONDS = 2000
_TYPES = "Names such as `message.sent`, or `message.*`; may be given more than once."


@router.get(
    "/api/events",
    summary="Follow events",
    response_class=StreamingResponse,
    responses={
        200: {
            "description": "Each event's id is its position; its data is the envelope.",
            "content": {"text/event-stream": {"schema": {"type": "string"}}},
        },
        **errors(400, 401, 403, 429, 503),
    },
)
async def follow_events(
    request: Request,
    tail: Part[FeedTail],
    streams: Part[EventStreams],
    notifications: Part[Notifications],
    caller: Annotated[Caller, caller_with(scopes.Scope.EVENTS_READ)],
    *,
    session_id: Annotated[UUID | None, Query(alias="sessionId")] = None,
    type_: Annotated[
        Sequence[Annotated[str, Field(json_schema_extra={"enum": list(CHOICES)})]],
        Query(alias="type", description=_TYPES),
    ] = (),
    last_event_id: Annotated[
        str | None,
        Header(
            description="Resume after this event.", json_schema_extra={"pattern": r"^[0-9]{0,18}$"}
        ),
    ] = None,
) -> StreamingResponse:
    """Starts now, or after `Last-Event-ID`. A session's token sees that session's events only,
    an API key those of its sessions.
    """
    sessions = caller.among(session_id)
    if session_id is not None and not sessions:
        raise invalid_field("sessionId", "'sessionId' is not a session of this token or key.")
    wanted = FeedFilter(sessions, _types(type_))
    position = await tail.start(last_seen(last_event_id))
    valid = _ValidCredential(notifications, _look_up(caller, bearer(request), parts_of(request)))
    return _EventStream(streams, caller, _stream(tail, notifications, wanted, position, valid))


_LookUp = Callable[[], Awaitable[object]]


def _look_up(caller: Caller, given: str | None, parts: Parts) -> _LookUp | None:
    """The look-up of the caller's token or key; None for the operator."""
    match caller.kind:
        case CallerKind.SESSION_TOKEN:
            return lambda: parts[Credentials].holder(given or "")
        case CallerKind.API_KEY:
            return lambda: parts[ApiKeys].holder(given or "")
        case _:
            return None


class _ValidCredential:
    """Looks the token or key of an open stream up again: revoking it ends the stream."""

    def __init__(self, notifications: Notifications, look_up: _LookUp | None) -> None:
        """No look-up: the operator's stream, which always continues."""
        self._notifications = notifications
        self._look_up = look_up
        self._checked_at = asyncio.get_running_loop().time()
        self._changes_seen = notifications.access_changes

    async def check(self) -> bool:
        """Whether the stream may continue. Looks up after a revocation, and every few seconds.

        Raises:
            DatabaseUnavailable: The token or key cannot be checked.
        """
        if self._look_up is None:
            return True
        now, changes = asyncio.get_running_loop().time(), self._notifications.access_changes
        if changes == self._changes_seen and now - self._checked_at < RECHECK_SECONDS:
            return True
        self._checked_at, self._changes_seen = now, changes
        return await self._look_up() is not None


class _EventStream(StreamingResponse):
    """A stream counted against the limit of its token or key until it ends."""

    def __init__(
        self, streams: EventStreams, caller: Caller, content: AsyncIterator[bytes]
    ) -> None:
        self._streams = streams
        self._owner = caller.stream_owner
        if self._owner is not None:
            self._acquire()
        super().__init__(
            content,
            media_type="text/event-stream",
            headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
        )

    def _acquire(self) -> None:
        try:
            self._streams.acquire(self._owner)
        except TooMany as error:
            raise Problem(
                "too_many_streams", "This token or key has too many event streams open: close some."
            ) from error

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            if self._owner is not None:
                self._streams.release(self._owner)


def _types(given: Sequence[str]) -> frozenset[str] | None:
    """Expand the given names and patterns; None for any event."""
    try:
        return events_meant(given) or None
    except UnknownEvent as error:
        raise invalid_field("type", f"'type' {error}.") from error


def last_seen(last_event_id: str | None) -> int | None:
    if not last_event_id:
        return None
    if not (last_event_id.isascii() and last_event_id.isdigit() and len(last_event_id) < 19):
        raise invalid_field("Last-Event-ID", "'Last-Event-ID' is not a position of this feed.")
    return int(last_event_id)


async def _stream(
    tail: FeedTail,
    notifications: Notifications,
    wanted: FeedFilter,
    position: int,
    valid: _ValidCredential,
) -> AsyncIterator[bytes]:
    """Stream events until the process ends, the token is revoked or the database is away.

    The first frame has the position, so that a client can resume before its first event. A stalled
    client is disconnected by its connection (serving/server.py).
    """
    yield f"retry: {RETRY_MILLISECONDS}\nid: {position}\n\n".encode()
    clock = asyncio.get_running_loop().time
    with notifications.watch() as watch:
        silent_since = clock()
        while not watch.ended:
            try:
                if not await valid.check():
                    log.info("event_stream_ended", reason="revoked")
                    return
                page = await tail.after(position, wanted)
            except DatabaseUnavailable:
                log.info("event_stream_ended", reason="database_unavailable")
                return
            position = page.position
            if page.entries:
                yield b"".join(entry.frame for entry in page.entries)
                silent_since = clock()
            elif clock() - silent_since >= HEARTBEAT_SECONDS:
                yield b": alive\n\n"
                silent_since = clock()
            if not page.more:
                pause = HEARTBEAT_SECONDS - (clock() - silent_since)
                await watch.changed(min(pause, RECHECK_SECONDS))
