"""The page of API keys and the audit log."""

from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse

from wa_api.access.api_keys import ApiKey, ApiKeys
from wa_api.access.callers import is_signed_in
from wa_api.access.scopes import MEANINGS
from wa_api.access.sign_in import SignIn
from wa_api.audit import Action, AuditEntry, AuditFilter, AuditLog
from wa_api.dashboard.home import HOME
from wa_api.dashboard.pages import page
from wa_api.database.pool import DatabaseUnavailable
from wa_api.http.paging import BadCursor, Page, Place, place_of
from wa_api.http.parts import Part
from wa_api.sessions.views import SessionViews

router = APIRouter(include_in_schema=False)

KEYS_SHOWN = 200
SESSIONS_OFFERED = 200
CHANGES_SHOWN = 50


@router.get("/access")
async def access_page(
    request: Request,
    sign_in: Part[SignIn],
    keys: Part[ApiKeys],
    audit: Part[AuditLog],
    sessions: Part[SessionViews],
) -> Response:
    """API keys, and who changed what."""
    if not is_signed_in(request, sign_in):
        return RedirectResponse(HOME, 303)
    action, after = _wanted(request)
    try:
        listed: Page[ApiKey] = await keys.page(None, KEYS_SHOWN, within=None)
        changes: Page[AuditEntry] = await audit.page(
            AuditFilter(action=action), after, CHANGES_SHOWN
        )
        offered = await sessions.sessions(None, None, SESSIONS_OFFERED)
    except DatabaseUnavailable:
        return page("away.html", request, sign_in, 503)
    return page(
        "access.html",
        request,
        sign_in,
        keys=listed,
        changes=changes,
        is_first_page=after is None,
        action=action,
        actions=list(Action),
        scopes=MEANINGS,
        offered=offered.items,
    )


def _wanted(request: Request) -> tuple[Action | None, Place | None]:
    """Filter and page in the URL. An invalid value counts as absent."""
    query = request.query_params
    given = query.get("action", "")
    action = Action(given) if given in set(Action) else None
    try:
        return action, place_of(query.get("cursor") or None)
    except BadCursor:
        return action, None
