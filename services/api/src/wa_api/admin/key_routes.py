"""`/api/keys`: API keys of people and programs."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query, Request, Response
from pydantic import Field

from wa_api.access.api_keys import ApiKey, ApiKeys, NewApiKey, Rights
from wa_api.access.caller import Caller
from wa_api.access.callers import operator_with
from wa_api.access.credentials import Credentials
from wa_api.access.scopes import MEANINGS, Scope
from wa_api.audit import Action, AuditLog, Change
from wa_api.database.pool import Database
from wa_api.http.documented import Cursor, errors, json_body
from wa_api.http.models import Body, Moment, Text
from wa_api.http.paging import Page, place_of
from wa_api.http.parts import Part, Parts, parts_of
from wa_api.http.problems import Problem, invalid_field, not_found
from wa_api.http.request_body import read_json
from wa_api.owners.host_clock import HostClock

router = APIRouter(prefix="/api/keys", tags=["API keys"])

SESSIONS_LIMIT = 100
MayManage = Annotated[Caller, operator_with(Scope.KEYS_WRITE)]
_NO_STORE = {"Cache-Control": "no-store"}


class KeyToCreate(Body):
    """A new API key: with all sessions without `sessionIds`, for ever without `expiresAt`."""

    name: Annotated[Text, Field(min_length=1, max_length=128, pattern=r"\S", examples=["CRM"])]
    scopes: Annotated[
        list[Scope],
        Field(
            min_length=1,
            max_length=len(Scope),
            description="; ".join(f"`{scope}`: {MEANINGS[scope]}" for scope in Scope),
        ),
    ]
    session_ids: Annotated[list[UUID] | None, Field(min_length=1, max_length=SESSIONS_LIMIT)] = None
    expires_at: Annotated[
        Moment | None, Field(description="RFC 3339 with a zone, in the future.")
    ] = None


@router.post(
    "",
    summary="Create an API key",
    status_code=201,
    responses=errors(400, 401, 403, 404, 408, 413, 415, 503),
    openapi_extra=json_body(KeyToCreate),
)
async def create_key(
    request: Request, response: Response, keys: Part[ApiKeys], caller: MayManage
) -> NewApiKey:
    """Only this response contains the key. A key that creates another one passes on no more than
    its own scopes, sessions and time.
    """
    wanted = await read_json(request, KeyToCreate)
    parts = parts_of(request)
    _check_time(wanted.expires_at, parts[HostClock]())
    sessions = None if wanted.session_ids is None else frozenset(wanted.session_ids)
    rights = Rights(frozenset(wanted.scopes), sessions, wanted.expires_at)
    if caller.rights is not None and not caller.rights.covers(rights):
        raise Problem(
            "forbidden",
            "An API key creates keys with no more scopes, sessions and time than its own.",
        )
    await _check_sessions(sessions, parts)
    async with parts[Database].transaction() as connection:
        made = await keys.create(connection, wanted.name, rights, created_by=caller.actor.name)
        await parts[AuditLog].record(connection, caller.actor, _noted(Action.KEY_CREATE, made))
    response.headers.update(_NO_STORE)
    return made


@router.get("", summary="List API keys, newest first", responses=errors(400, 401, 403, 503))
async def list_keys(
    keys: Part[ApiKeys],
    caller: MayManage,
    cursor: Cursor = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
) -> Page[ApiKey]:
    """Without the keys themselves, which nobody can show again. An API key sees those that it may
    revoke.
    """
    return await keys.page(place_of(cursor), limit, within=caller.rights)


@router.delete(
    "/{key_id}",
    summary="Revoke an API key",
    status_code=204,
    responses=errors(400, 401, 403, 404, 503),
)
async def revoke_key(
    key_id: UUID,
    keys: Part[ApiKeys],
    database: Part[Database],
    audit: Part[AuditLog],
    caller: MayManage,
) -> Response:
    """The key is refused everywhere from now on, its event streams end."""
    async with database.transaction() as connection:
        revoked = await keys.revoke(connection, key_id, within=caller.rights)
        if revoked is None:
            raise not_found("key")
        await audit.record(connection, caller.actor, _noted(Action.KEY_REVOKE, revoked))
    return Response(status_code=204)


def _noted(action: Action, key: ApiKey) -> Change:
    details = key.model_dump(mode="json", include={"scopes", "session_ids", "expires_at"})
    return Change(action, subject_id=key.id, subject_name=key.name, details=details)


def _check_time(expires_at: datetime | None, now: datetime) -> None:
    if expires_at is not None and expires_at <= now:
        raise invalid_field("expiresAt", "'expiresAt' must lie in the future.")


async def _check_sessions(sessions: frozenset[UUID] | None, parts: Parts) -> None:
    for session_id in sorted(sessions or ()):
        if await parts[Credentials].of_session(session_id) is None:
            raise not_found("session")
