"""Routes about a chat: mark an incoming message as read, show that somebody types."""

from typing import Annotated, Literal
from uuid import UUID

from fastapi import APIRouter, Path, Request

from wa_api.access.callers import MaySend
from wa_api.access.flood_gate import over_the_rate
from wa_api.access.rate_limit import RateLimit
from wa_api.http.documented import errors, json_body
from wa_api.http.models import Body, Text, View
from wa_api.http.parts import Part
from wa_api.http.problems import Problem, invalid_field, not_found
from wa_api.http.request_body import read_json
from wa_api.messages.parts import reference_to
from wa_api.messages.requests import MessageRequests
from wa_api.sessions.questions import SessionQuestions
from wa_contracts.internal.questions import MarkRead, ShowTyping
from wa_contracts.recipient import RECIPIENT_PATTERN, parse_recipient

router = APIRouter(prefix="/api", tags=["messages"])


class Marked(View):
    """The sender was told that the message was read."""

    success: Literal[True] = True
    id: UUID
    message_id: str
    status: Literal["read"] = "read"


class Typing(Body):
    """What the chat shows. `sessionId` is required, except with a session's token."""

    state: Literal["typing", "recording", "paused"]
    session_id: UUID | None = None


class Shown(View):
    """WhatsApp was told."""

    success: Literal[True] = True
    to: str
    state: Literal["typing", "recording", "paused"]


@router.post(
    "/messages/{key}/read",
    summary="Mark an incoming message as read",
    responses=errors(400, 401, 403, 404, 409, 500, 503),
)
async def mark_read(
    key: Text,
    *,
    requests: Part[MessageRequests],
    asking: Part[SessionQuestions],
    rate: Part[RateLimit],
    caller: MaySend,
) -> Marked:
    """Its sender sees the blue ticks. Nothing is stored: a session that does not work gets 409."""
    message = await requests.look_up(key, caller.sessions)
    if message is None:
        raise not_found("message")
    if seconds := rate.acquire(caller.sends_of(message.session_id)):
        raise over_the_rate(seconds)
    if message.direction != "incoming" or message.message_id is None:
        raise Problem("not_readable", "Only an incoming message can be marked as read.")
    of = reference_to(message, message.message_id)
    await asking.ask(message.session_id, MarkRead(of=of))
    return Marked(id=message.id, message_id=message.message_id)


@router.post(
    "/chats/{to}/typing",
    summary="Show that somebody types",
    responses=errors(400, 401, 403, 404, 408, 409, 413, 415, 500, 503),
    openapi_extra=json_body(Typing),
)
async def show_typing(
    to: Annotated[str, Path(json_schema_extra={"pattern": RECIPIENT_PATTERN})],
    *,
    request: Request,
    asking: Part[SessionQuestions],
    rate: Part[RateLimit],
    caller: MaySend,
) -> Shown:
    """Phones show it for some seconds, or until a message comes. Nothing is stored."""
    try:
        parse_recipient(to)
    except ValueError as error:
        raise invalid_field("to", str(error)) from error
    wanted = await read_json(request, Typing)
    session_id = caller.one_session(wanted.session_id)
    if seconds := rate.acquire(caller.sends_of(session_id)):
        raise over_the_rate(seconds)
    await asking.ask(session_id, ShowTyping(to=to, state=wanted.state))
    return Shown(to=to, state=wanted.state)
