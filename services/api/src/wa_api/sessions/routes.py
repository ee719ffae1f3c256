"""Routes for sessions: the operator's, and a session's view of itself."""

from typing import Annotated, TypeVar
from uuid import UUID

from cryptography.exceptions import InvalidTag
from fastapi import APIRouter, Query, Request, Response
from pydantic import Field

from wa_api.access.caller import Caller
from wa_api.access.callers import TokenOf, insufficient_scope, operator_with
from wa_api.access.scopes import Scope
from wa_api.http.documented import Cursor, errors, json_body
from wa_api.http.models import Body, View
from wa_api.http.paging import Page, place_of
from wa_api.http.parts import Part
from wa_api.http.problems import Problem, not_found, token_unreadable
from wa_api.http.request_body import read_json
from wa_api.sessions.lifecycle import SessionLifecycle
from wa_api.sessions.options import SessionOptions
from wa_api.sessions.views import Session, SessionViews, SessionWithToken
from wa_contracts.ids import SessionId
from wa_contracts.internal.commands import (
    LogOutSession,
    RestartSession,
    SessionCommand,
    StopSession,
)
from wa_contracts.internal.replies import PairingCode
from wa_contracts.session_events import SessionStatus

router = APIRouter(tags=["sessions"])
admin = APIRouter(prefix="/api/sessions", tags=["sessions"])

MayRead = Annotated[Caller, operator_with(Scope.SESSIONS_READ)]
MayWrite = Annotated[Caller, operator_with(Scope.SESSIONS_WRITE)]
MaySeeTokens = Annotated[Caller, operator_with(Scope.TOKENS_READ)]

AnySession = TypeVar("AnySession", bound=Session)

NO_STORE = {"Cache-Control": "no-store"}


class PairingRequest(Body):
    """The number of the phone on which the code will be entered."""

    phone_number: Annotated[
        str,
        Field(
            pattern=r"^[1-9][0-9]{6,14}$",
            description="Country code and number, digits only.",
            examples=["919876543210"],
        ),
    ]


class Deletion(View):
    """The session is logged out and deleted."""

    success: bool = True
    session_id: UUID


@admin.post(
    "",
    summary="Open a session",
    status_code=201,
    responses={
        202: {"model": SessionWithToken, "description": "Accepted; no host has taken it up yet."},
        **errors(400, 401, 403, 408, 413, 415, 500, 503),
    },
    openapi_extra=json_body(SessionOptions, required=False),
)
async def create_session(
    request: Request, response: Response, lifecycle: Part[SessionLifecycle], caller: MayWrite
) -> SessionWithToken:
    """Creates the session's id and token and starts its engine. Next, scan its QR code."""
    if caller.sessions is not None:
        raise Problem("forbidden", "This API key has its sessions: it cannot open others.")
    has_body = request.headers.get("content-length", "0") != "0" or (
        "transfer-encoding" in request.headers
    )
    wanted = await read_json(request, SessionOptions) if has_body else SessionOptions()
    created = await lifecycle.create(caller.actor, wanted.name, wanted.changes(but_name=True))
    response.status_code = 201 if created.confirmed else 202
    response.headers.update(NO_STORE)
    response.headers["Location"] = _address(created.session.session_id)
    return created.session


@admin.get("", summary="List sessions, newest first", responses=errors(400, 401, 403, 503))
async def list_sessions(
    sessions: Part[SessionViews],
    caller: MayRead,
    *,
    status: SessionStatus | None = None,
    cursor: Cursor = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
) -> Page[Session]:
    """The sessions that the caller may see, or those of them with the given status."""
    return await sessions.sessions(status, place_of(cursor), limit, caller.sessions)


@admin.get("/{session_id}", summary="One session", responses=errors(400, 401, 403, 404, 503))
async def get_session(session_id: UUID, sessions: Part[SessionViews], _: MayRead) -> Session:
    """The current state of the session."""
    return _or_not_found(await sessions.session(session_id))


@admin.patch(
    "/{session_id}",
    summary="Change options",
    responses={
        202: {"model": Session, "description": "Accepted; no host has taken it up yet."},
        **errors(400, 401, 403, 404, 408, 413, 415, 500, 503),
    },
    openapi_extra=json_body(SessionOptions),
)
async def change_session(
    session_id: UUID,
    request: Request,
    response: Response,
    lifecycle: Part[SessionLifecycle],
    caller: MayWrite,
) -> Session:
    """Changes the options that the body names. The command stays valid for a day."""
    wanted = await read_json(request, SessionOptions)
    updated = await lifecycle.update(caller.actor, SessionId(session_id), wanted.changes())
    if updated is None:
        raise not_found("session")
    response.status_code = 200 if updated.confirmed else 202
    return updated.session


@admin.post(
    "/{session_id}/restart",
    summary="Start the engine anew",
    status_code=202,
    responses=errors(400, 401, 403, 404, 409, 500, 503),
)
async def restart_session(
    session_id: UUID, response: Response, lifecycle: Part[SessionLifecycle], caller: MayWrite
) -> Session:
    """Works in every state, also after a stop, an expired QR code or a logout."""
    return await _perform(RestartSession, session_id, response, lifecycle, caller)


@admin.post(
    "/{session_id}/stop",
    summary="Stop the engine, keep the link",
    status_code=202,
    responses=errors(400, 401, 403, 404, 409, 500, 503),
)
async def stop_session(
    session_id: UUID, response: Response, lifecycle: Part[SessionLifecycle], caller: MayWrite
) -> Session:
    """Messages stay queued until the session is restarted."""
    return await _perform(StopSession, session_id, response, lifecycle, caller)


@admin.post(
    "/{session_id}/logout",
    summary="Unlink at WhatsApp",
    status_code=202,
    responses=errors(400, 401, 403, 404, 409, 500, 503),
)
async def log_out_session(
    session_id: UUID, response: Response, lifecycle: Part[SessionLifecycle], caller: MayWrite
) -> Session:
    """Queued messages of the session fail."""
    return await _perform(LogOutSession, session_id, response, lifecycle, caller)


@admin.delete(
    "/{session_id}",
    summary="Log out and forget",
    status_code=202,
    responses=errors(400, 401, 403, 404, 500, 503),
)
async def delete_session(
    session_id: UUID, response: Response, lifecycle: Part[SessionLifecycle], caller: MayWrite
) -> Deletion:
    """The session's token is refused from now on."""
    if not await lifecycle.delete(caller.actor, SessionId(session_id)):
        raise not_found("session")
    response.headers["Location"] = _address(session_id)
    return Deletion(session_id=session_id)


@admin.post(
    "/{session_id}/pairing-code",
    summary="Link by a code instead of a QR code",
    responses=errors(400, 401, 403, 404, 408, 409, 413, 415, 500, 503),
    openapi_extra=json_body(PairingRequest),
)
async def request_pairing_code(
    session_id: UUID,
    request: Request,
    response: Response,
    lifecycle: Part[SessionLifecycle],
    caller: MayWrite,
) -> PairingCode:
    """Returns a code to enter on the phone with the given number."""
    wanted = await read_json(request, PairingRequest)
    code = await lifecycle.pairing_code(caller.actor, SessionId(session_id), wanted.phone_number)
    if code is None:
        raise not_found("session")
    response.headers.update(NO_STORE)
    return code


@admin.get(
    "/{session_id}/token", summary="Show the token", responses=errors(400, 401, 403, 404, 409, 503)
)
async def show_token(
    session_id: UUID, response: Response, lifecycle: Part[SessionLifecycle], _: MaySeeTokens
) -> SessionWithToken:
    """The session with its current token."""
    response.headers.update(NO_STORE)
    try:
        return _or_not_found(await lifecycle.show_token(SessionId(session_id)))
    except InvalidTag as error:
        raise token_unreadable() from error


@admin.post(
    "/{session_id}/token",
    summary="Rotate the token",
    responses=errors(400, 401, 403, 404, 503),
)
async def rotate_token(
    session_id: UUID, response: Response, lifecycle: Part[SessionLifecycle], caller: MaySeeTokens
) -> SessionWithToken:
    """Creates a new token. The old one is refused from now on, its event streams end. An API key
    needs `sessions:write` as well.
    """
    if caller.rights is not None and Scope.SESSIONS_WRITE not in caller.rights.scopes:
        raise insufficient_scope(Scope.SESSIONS_WRITE)
    response.headers.update(NO_STORE)
    return _or_not_found(await lifecycle.rotate_token(caller.actor, SessionId(session_id)))


@router.get("/api/session", summary="The token's own session", responses=errors(401, 404, 503))
async def own_session(sessions: Part[SessionViews], holder: TokenOf) -> Session:
    """For programs that hold a session's token."""
    return _or_not_found(await sessions.session(holder.session_id))


async def _perform(
    kind: type[SessionCommand],
    session_id: UUID,
    response: Response,
    lifecycle: SessionLifecycle,
    caller: Caller,
) -> Session:
    session = _or_not_found(await lifecycle.perform(caller.actor, kind, SessionId(session_id)))
    response.headers["Location"] = _address(session_id)
    return session


def _or_not_found(session: AnySession | None) -> AnySession:
    if session is None:
        raise not_found("session")
    return session


def _address(session_id: UUID) -> str:
    return f"/api/sessions/{session_id}"
