"""The dashboard's pages."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import RedirectResponse

from wa_api.access.callers import is_signed_in
from wa_api.access.sign_in import SignIn
from wa_api.dashboard.pages import page
from wa_api.dashboard.session_details import SessionDetails
from wa_api.dashboard.session_table import SessionTable
from wa_api.database.pool import DatabaseUnavailable
from wa_api.http.parts import Part
from wa_api.sessions.views import SessionViews

router = APIRouter(include_in_schema=False)

HOME = "/"


@router.api_route("/", methods=["GET", "HEAD"])
async def home(
    request: Request,
    sign_in: Part[SignIn],
    table: Part[SessionTable],
    refusal: Annotated[str, Query(alias="sign-in")] = "",
) -> Response:
    """The sign-in page or the list of sessions, both with the API documentation."""
    if not is_signed_in(request, sign_in):
        return page("welcome.html", request, sign_in, refusal=refusal)
    return page("sessions.html", request, sign_in, **await table.values(request))


@router.get("/sessions/{session_id}")
async def session_page(
    session_id: UUID,
    request: Request,
    sign_in: Part[SignIn],
    sessions: Part[SessionViews],
    details: Part[SessionDetails],
) -> Response:
    """One session: state, history, messages and live events."""
    if not is_signed_in(request, sign_in):
        return RedirectResponse(HOME, 303)
    try:
        session = await sessions.session(session_id)
        if session is None:
            return page("absent.html", request, sign_in, 404)
        values = await details.values(session, request)
    except DatabaseUnavailable:
        return page("away.html", request, sign_in, 503)
    return page("session.html", request, sign_in, session=session, **values)
