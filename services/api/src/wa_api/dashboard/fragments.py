"""Fragments of the dashboard's pages, which the page's script reloads."""

from uuid import UUID

import segno
from fastapi import APIRouter, Request, Response
from fastapi.responses import StreamingResponse

from wa_api.access.callers import Admin
from wa_api.dashboard.changes import Changes
from wa_api.dashboard.pages import fragment
from wa_api.dashboard.session_details import SessionDetails
from wa_api.dashboard.session_table import SessionTable
from wa_api.http.parts import Part
from wa_api.http.problems import not_found
from wa_api.sessions.views import Session, SessionViews

router = APIRouter(prefix="/dashboard", include_in_schema=False, dependencies=[Admin])


@router.get("/sessions")
async def sessions_fragment(request: Request, table: Part[SessionTable]) -> Response:
    """The overview and the table, for the search, filter and page in the URL."""
    return fragment("sessions_live.html", request, **await table.values(request))


@router.get("/sessions/{session_id}")
async def session_fragment(
    session_id: UUID,
    request: Request,
    sessions: Part[SessionViews],
    details: Part[SessionDetails],
) -> Response:
    """The content of a session's page."""
    session = await _session(sessions, session_id)
    values = await details.values(session, request)
    return fragment("session_live.html", request, session=session, **values)


@router.get("/sessions/{session_id}/linking")
async def linking_fragment(
    session_id: UUID, request: Request, sessions: Part[SessionViews]
) -> Response:
    """The progress of linking a session: the QR code to scan, or the result."""
    session = await _session(sessions, session_id)
    code = await sessions.qr_code(session_id)
    picture = None
    if code is not None:
        made = segno.make(code.qr, error="l", micro=False)
        picture = made.svg_inline(scale=1, border=4, omitsize=True, light="#fff", dark="#000")
    return fragment("linking.html", request, session=session, code=code, picture=picture)


@router.get("/changes")
async def changes(changes: Part[Changes]) -> StreamingResponse:
    """Server-Sent Events: `changed` whenever the dashboard may have changed."""
    return StreamingResponse(
        changes.stream(),
        media_type="text/event-stream",
        headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
    )


async def _session(sessions: SessionViews, session_id: UUID) -> Session:
    session = await sessions.session(session_id)
    if session is None:
        raise not_found("session")
    return session
