"""Routes that change a message after its send: edit, delete for everyone."""

from typing import Annotated, Any

from fastapi import APIRouter, Header, Request, Response
from pydantic import Field

from wa_api.access.caller import Caller
from wa_api.access.callers import MaySend
from wa_api.access.flood_gate import over_the_rate
from wa_api.access.rate_limit import RateLimit
from wa_api.http.documented import errors, json_body
from wa_api.http.models import Body, Text
from wa_api.http.parts import Part, Parts, parts_of
from wa_api.http.problems import not_found, session_refuses
from wa_api.http.request_body import read_json
from wa_api.messages.changes import MessageChanges
from wa_api.messages.requests import MessageRequests
from wa_api.messages.send_request import TEXT_LIMIT
from wa_api.messages.send_route import (
    DEFAULT_EXPIRY,
    KEY_PATTERN,
    SendAnswer,
    answer,
    held_wait,
    wants_async,
)
from wa_api.messages.sending import SendOptions
from wa_api.messages.views import Message
from wa_api.sessions.views import SessionViews

router = APIRouter(prefix="/api/messages", tags=["messages"])

IdempotencyKey = Annotated[str | None, Header(pattern=KEY_PATTERN)]
Prefer = Annotated[str | None, Header(description="`respond-async` for 202 at once.")]

_ANSWERS: dict[int | str, dict[str, Any]] = {
    202: {"model": SendAnswer, "description": "Durable; see Location for what becomes of it."}
}


class Edit(Body):
    """The new text, or the new caption of media."""

    message: Annotated[
        Text, Field(min_length=1, max_length=TEXT_LIMIT, json_schema_extra={"minLength": 1})
    ]


@router.patch(
    "/{key}",
    summary="Edit a sent text or caption",
    response_model=SendAnswer,
    responses={**_ANSWERS, **errors(400, 401, 403, 404, 408, 409, 413, 415, 422, 429, 500, 503)},
    openapi_extra=json_body(Edit),
)
async def edit_message(
    key: Text,
    *,
    request: Request,
    changes: Part[MessageChanges],
    caller: MaySend,
    idempotency_key: IdempotencyKey = None,
    prefer: Prefer = None,
) -> Response:
    """Within about 15 minutes of the send. The edit is a message of its own: `id` names it."""
    wanted = await read_json(request, Edit)
    message = await _message(request, key, caller)
    options = _options(idempotency_key, prefer)
    with held_wait(parts_of(request), message.session_id):
        return answer(await changes.edit(message, wanted.message, options))


@router.post(
    "/{key}/revoke",
    summary="Delete a message for everyone",
    response_model=SendAnswer,
    responses={**_ANSWERS, **errors(400, 401, 403, 404, 409, 422, 429, 500, 503)},
)
async def revoke_message(
    key: Text,
    *,
    request: Request,
    changes: Part[MessageChanges],
    caller: MaySend,
    idempotency_key: IdempotencyKey = None,
    prefer: Prefer = None,
) -> Response:
    """A sent message; in a group where the number is an admin, anybody's. `id` names the deletion."""
    message = await _message(request, key, caller)
    with held_wait(parts_of(request), message.session_id):
        return answer(await changes.revoke(message, _options(idempotency_key, prefer)))


async def _message(request: Request, key: str, caller: Caller) -> Message:
    """The message, if its session takes messages and the caller is within the limit of sends."""
    parts: Parts = parts_of(request)
    message = await parts[MessageRequests].look_up_sent(key, caller.sessions)
    if message is None:
        raise not_found("message")
    if seconds := parts[RateLimit].acquire(caller.sends_of(message.session_id)):
        raise over_the_rate(seconds)
    session = await parts[SessionViews].session(message.session_id)
    refusal = session_refuses(session.status if session else "")
    if refusal is not None:
        raise refusal
    return message


def _options(idempotency_key: str | None, prefer: str | None) -> SendOptions:
    return SendOptions(
        idempotency_key=idempotency_key,
        respond_async=wants_async(prefer),
        expires_in=DEFAULT_EXPIRY,
    )
