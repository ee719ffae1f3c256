"""The dashboard's pages, for people with a browser."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import RedirectResponse

from wa_api.access.callers import is_signed_in
from wa_api.dashboard.fragments import particulars_of, table_of
from wa_api.dashboard.pages import page
from wa_api.database.pool import DatabaseUnavailable
from wa_api.gateway import TheGateway

router = APIRouter(include_in_schema=False)

HOME = "/"


@router.api_route("/", methods=["GET", "HEAD"])
async def home(
    request: Request,
    gateway: TheGateway,
    sign_in: Annotated[str, Query(alias="sign-in")] = "",
) -> Response:
    """The sign-in, or the sessions; the API documentation in both cases."""
    if not is_signed_in(request, gateway):
        return page("welcome.html", request, gateway, refusal=sign_in)
    return page("sessions.html", request, gateway, **await table_of(gateway, request))


@router.get("/sessions/{session_id}")
async def session_page(session_id: UUID, request: Request, gateway: TheGateway) -> Response:
    """One session: its state and history, its messages, what happens to it now."""
    if not is_signed_in(request, gateway):
        return RedirectResponse(HOME, 303)
    try:
        session = await gateway.views.session(session_id)
        if session is None:
            return page("absent.html", request, gateway, 404)
        particulars = await particulars_of(gateway, session, request)
    except DatabaseUnavailable:
        return page("away.html", request, gateway, 503)
    return page("session.html", request, gateway, session=session, **particulars)
