"""Routes to look up, cancel and resend messages."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Header, Query, Response

from wa_api.access.caller import Caller
from wa_api.access.callers import MayRead, MaySend
from wa_api.access.flood_gate import over_the_rate
from wa_api.access.rate_limit import RateLimit
from wa_api.http.documented import Cursor, errors
from wa_api.http.models import Text
from wa_api.http.paging import Page, place_of
from wa_api.http.parts import Part
from wa_api.http.problems import not_found, outcome_unknown
from wa_api.messages.requests import MessageRequests
from wa_api.messages.send_route import KEY_PATTERN, SendAnswer, queued_answer
from wa_api.messages.views import Direction, Message, MessageFilter, MessageViews
from wa_api.owners.command_bus import ConfirmLost
from wa_contracts.ids import MessageId, SessionId, message_id_for_key, new_id
from wa_contracts.internal.replies import MessageStatus

router = APIRouter(prefix="/api/messages", tags=["messages"])

Limit = Annotated[int, Query(ge=1, le=200)]


@router.get("", summary="List messages, newest first", responses=errors(400, 401, 403, 503))
async def list_messages(
    messages: Part[MessageViews],
    caller: MayRead,
    *,
    session_id: Annotated[UUID | None, Query(alias="sessionId")] = None,
    status: MessageStatus | None = None,
    to: Text | None = None,
    reference: Text | None = None,
    direction: Direction | None = None,
    cursor: Cursor = None,
    limit: Limit = 50,
) -> Page[Message]:
    """Messages of all sessions that the caller may see: a token's own, an API key's, or all."""
    after = place_of(cursor)
    wanted = MessageFilter(None, status, to, reference, direction)
    sessions = caller.among(session_id)
    if sessions is None:
        return await messages.messages(wanted, after, limit)
    return await messages.messages_of(sessions, wanted, after, limit)


@router.get("/{key}", summary="One message", responses=errors(400, 401, 403, 404, 503))
async def get_message(key: Text, requests: Part[MessageRequests], caller: MayRead) -> Message:
    """By the gateway's id or WhatsApp's. Waits up to 2 s for an id that was just accepted."""
    return await _message_or_not_found(key, requests, caller)


@router.post(
    "/{key}/cancel",
    summary="Cancel a queued message",
    responses=errors(400, 401, 403, 404, 409, 500, 503),
)
async def cancel_message(key: Text, requests: Part[MessageRequests], caller: MaySend) -> Message:
    """Returns the message after the cancellation."""
    return await requests.cancel(await _message_or_not_found(key, requests, caller))


@router.post(
    "/{key}/resend",
    summary="Send a failed, unknown or unreadable message again",
    status_code=202,
    response_model=SendAnswer,
    responses=errors(400, 401, 403, 404, 409, 422, 429, 500, 503),
)
async def resend_message(
    key: Text,
    *,
    requests: Part[MessageRequests],
    rate: Part[RateLimit],
    caller: MaySend,
    idempotency_key: Annotated[str | None, Header(pattern=KEY_PATTERN)] = None,
) -> Response:
    """Creates a new message whose `resendOf` is the old one, under the limits of a send."""
    message = await _message_or_not_found(key, requests, caller)
    if seconds := rate.acquire(caller.sends_of(message.session_id)):
        raise over_the_rate(seconds)
    new = (
        message_id_for_key(SessionId(message.session_id), f"resend\n{idempotency_key}")
        if idempotency_key
        else MessageId(new_id())
    )
    try:
        replayed = await requests.resend(message, new)
    except ConfirmLost as error:
        raise outcome_unknown(new) from error
    return queued_answer(new, replayed=replayed)


async def _message_or_not_found(
    key: Text, requests: Part[MessageRequests], caller: Caller
) -> Message:
    message = await requests.look_up(key, caller.sessions)
    if message is None:
        raise not_found("message")
    return message
