"""`GET /api/audit`: who changed what."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query

from wa_api.access.callers import Admin
from wa_api.audit import Action, ActorKind, AuditEntry, AuditFilter, AuditLog
from wa_api.http.documented import Cursor, errors
from wa_api.http.models import Moment
from wa_api.http.paging import Page, place_of
from wa_api.http.parts import Part

router = APIRouter(prefix="/api/audit", tags=["audit log"], dependencies=[Admin])


@router.get("", summary="List changes, newest first", responses=errors(400, 401, 403, 503))
async def list_changes(
    audit: Part[AuditLog],
    *,
    action: Action | None = None,
    actor: ActorKind | None = None,
    key_id: Annotated[
        UUID | None, Query(alias="keyId", description="Changes made with this API key.")
    ] = None,
    session_id: Annotated[UUID | None, Query(alias="sessionId")] = None,
    since: Annotated[Moment | None, Query(description="RFC 3339 with a zone.")] = None,
    until: Annotated[Moment | None, Query(description="The same; not included.")] = None,
    cursor: Cursor = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
) -> Page[AuditEntry]:
    """Changes of sessions, tokens, API keys and webhooks, for `AUDIT_DAYS`. A command to a
    session's host is listed from the time on at which it was accepted.
    """
    wanted = AuditFilter(action, actor, key_id, session_id, since, until)
    return await audit.page(wanted, place_of(cursor), limit)
