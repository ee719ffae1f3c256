"""Parts of the dashboard's pages as they are now, and the bell that says when to ask for them."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import segno
from fastapi import APIRouter, Request, Response
from fastapi.responses import StreamingResponse

from wa_api.access.callers import Admin
from wa_api.dashboard.charts import charts_of
from wa_api.dashboard.pages import fragment
from wa_api.dashboard.readings import DashboardViews, SessionsPage, SessionsWanted
from wa_api.database.pool import DatabaseUnavailable
from wa_api.gateway import Gateway, TheGateway
from wa_api.http.paging import place_of
from wa_api.http.problems import not_found
from wa_api.sessions.views import MessageFilter, Session
from wa_contracts.internal.replies import MessageStatus
from wa_contracts.session_events import SessionStatus

router = APIRouter(prefix="/dashboard", include_in_schema=False, dependencies=[Admin])

LOOK_EVERY_SECONDS = 0.5
"""How often a host's silence is looked for: no event tells of it."""
HEARTBEAT_SECONDS = 10.0
LEAST_SECONDS_BETWEEN_RINGS = 0.2
RETRY_MILLISECONDS = 1000
MESSAGES_SHOWN = 25
ENDPOINTS_SHOWN = 50
DELIVERIES_SHOWN = 10


@dataclass(frozen=True)
class Overview:
    """How the installation fares. `messages_a_minute` and `hosts` are None if unknown."""

    broker: bool
    database: bool
    hosts: Mapping[str, int] | None
    messages_a_minute: int | None


@router.get("/sessions")
async def sessions_fragment(request: Request, gateway: TheGateway) -> Response:
    """The table with the overview above it, for the search, filter and page of the address."""
    return fragment("sessions_live.html", **await table_of(gateway, request))


@router.get("/sessions/{session_id}")
async def session_fragment(session_id: UUID, request: Request, gateway: TheGateway) -> Response:
    """What the page of a session shows."""
    session = await _session(gateway, session_id)
    particulars = await particulars_of(gateway, session, request)
    return fragment("session_live.html", session=session, **particulars)


@router.get("/sessions/{session_id}/linking")
async def linking_fragment(session_id: UUID, gateway: TheGateway) -> Response:
    """How far the linking of a session is: the picture to scan, or what became of it."""
    session = await _session(gateway, session_id)
    code = await gateway.views.qr_code(session_id)
    picture = None
    if code is not None:
        made = segno.make(code.qr, error="l", micro=False)
        picture = made.svg_inline(scale=1, border=4, omitsize=True, light="#fff", dark="#000")
    return fragment("linking.html", session=session, code=code, picture=picture)


@router.get("/changes")
async def changes(gateway: TheGateway) -> StreamingResponse:
    """Rings (`changed`) at once, and whenever something that the dashboard shows may have changed."""
    return StreamingResponse(
        _rings(gateway),
        media_type="text/event-stream",
        headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
    )


async def _rings(gateway: Gateway) -> AsyncIterator[bytes]:
    yield f"retry: {RETRY_MILLISECONDS}\n\n".encode()
    clock = asyncio.get_running_loop().time
    with gateway.live.watch() as watch:
        condition, rung, spoken = None, True, clock()
        while not watch.ended:
            now = _condition(gateway)
            if rung or now != condition:
                condition, spoken = now, clock()
                yield b"event: changed\ndata: {}\n\n"
                await asyncio.sleep(LEAST_SECONDS_BETWEEN_RINGS)
            elif clock() - spoken >= HEARTBEAT_SECONDS:
                spoken = clock()
                yield b"event: alive\ndata: {}\n\n"
            rung = await watch.changed(LOOK_EVERY_SECONDS)


def _condition(gateway: Gateway) -> tuple[object, ...]:
    """What changes the page without an event."""
    broker = gateway.publish_link.writer is not None
    return broker, gateway.live.listening, tuple(sorted(gateway.liveness.live_partitions()))


def wanted_of(request: Request) -> SessionsWanted:
    """Search, filter and page of an address; what makes no sense is as good as absent."""
    asked = request.query_params
    page, status = asked.get("page", "1"), asked.get("status", "")
    return SessionsWanted(
        search=asked.get("search", "")[:128].replace("\x00", ""),
        status=SessionStatus(status) if status in set(SessionStatus) else None,
        page=int(page) if page.isascii() and page.isdigit() and len(page) < 7 else 1,
    )


async def table_of(gateway: Gateway, request: Request) -> dict[str, Any]:
    """What the table of sessions shows. Without the database it says so, instead of what was."""
    wanted = wanted_of(request)
    broker = gateway.publish_link.writer is not None
    try:
        read = _read(gateway.dashboard_views, wanted)
        listing, hosts, messages = await gateway.live.unless_lost(read)
    except DatabaseUnavailable:
        overview = Overview(broker=broker, database=False, hosts=None, messages_a_minute=None)
        return {"listing": None, "wanted": wanted, "overview": overview}
    overview = Overview(broker=broker, database=True, hosts=hosts, messages_a_minute=messages)
    return {"listing": listing, "wanted": wanted, "overview": overview}


async def _read(
    views: DashboardViews, wanted: SessionsWanted
) -> tuple[SessionsPage, Mapping[str, int], int]:
    return (
        await views.sessions(wanted),
        await views.sessions_by_host(),
        await views.messages_a_minute(),
    )


async def particulars_of(gateway: Gateway, session: Session, request: Request) -> dict[str, Any]:
    """What the page of a session shows beside the session itself."""
    views, asked = gateway.dashboard_views, request.query_params
    status = asked.get("status", "")
    wanted = MessageFilter(
        session_id=session.session_id,
        status=MessageStatus(status) if status in set(MessageStatus) else None,
        to=asked.get("to", "").replace("\x00", "").lstrip("+") or None,
    )
    after = place_of(asked.get("cursor") or None)
    endpoints = await gateway.webhooks.page(None, ENDPOINTS_SHOWN, for_session=session.session_id)
    return {
        "messages": await gateway.views.messages(wanted, after, MESSAGES_SHOWN),
        "message_filter": wanted,
        "is_first_page": after is None,
        "message_counts": await views.message_counts(session.session_id),
        "span": await views.span(session),
        "history": await views.history(session.session_id),
        "charts": charts_of(await views.last_day(session.session_id)),
        "endpoints": endpoints.items,
        "deliveries": await gateway.webhook_deliveries.latest_of_session(
            session.session_id, DELIVERIES_SHOWN
        ),
    }


async def _session(gateway: Gateway, session_id: UUID) -> Session:
    session = await gateway.views.session(session_id)
    if session is None:
        raise not_found("session")
    return session
