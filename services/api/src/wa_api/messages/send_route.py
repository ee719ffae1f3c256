"""`POST /api/messages/send`, the most frequent call."""

import asyncio
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Literal, assert_never
from uuid import UUID

from fastapi import Request, Response
from pydantic import BaseModel
from pydantic_core import to_json

from wa_api.access.caller import Caller
from wa_api.access.callers import any_caller, bearer, holder_of_token, is_session_token, security_of
from wa_api.access.concurrency import Concurrency, TooMany
from wa_api.access.credentials import Credentials, TokenHolder
from wa_api.access.flood_gate import PATH, over_the_rate
from wa_api.access.rate_limit import RateLimit
from wa_api.access.scopes import Scope
from wa_api.access.sign_in import COOKIE
from wa_api.http import problems
from wa_api.http.direct import DirectRoute
from wa_api.http.documented import errors, header, json_body
from wa_api.http.parts import Parts, parts_of
from wa_api.http.request_body import BODY_LIMIT, read_json
from wa_api.messages.inline_media import is_inline, stored_media
from wa_api.messages.media_address import MediaAddressRule, MediaRefused
from wa_api.messages.send_request import SendRequest
from wa_api.messages.sending import (
    Queued,
    Refused,
    Scheduled,
    Sending,
    SendOptions,
    SendResult,
    Sent,
    Unknown,
)
from wa_api.messages.views import MessageViews
from wa_api.owners.host_clock import HostClock
from wa_api.settings import Settings
from wa_api.uploads.uploads import Uploads
from wa_contracts.ids import message_id_for_key

LARGE_BODIES_AT_ONCE = 2
"""Per process: each is up to 16 MiB of media, several times in memory while it is decoded."""
DEFAULT_EXPIRY = timedelta(hours=24)
LONGEST_SCHEDULE_DAYS = 30
CLOCK_TOLERANCE = timedelta(seconds=5)
"""A client's clock may be behind by so much for a `sendAt` of now."""
REPLAYED = "Idempotent-Replayed"
_KEY = re.compile(r"[\x21-\x7e]{1,255}")
KEY_PATTERN = f"^{_KEY.pattern}$"
"""Of an `Idempotency-Key`."""


_LINKS = {
    summary: {
        "operationId": f"{name}_message_api_messages__key_{path}_{method}",
        "parameters": {"key": "$response.body#/id"},
    }
    for summary, name, path, method in (
        ("look up", "get", "", "get"),
        ("cancel", "cancel", "_cancel", "post"),
        ("resend", "resend", "_resend", "post"),
        ("revoke", "revoke", "_revoke", "post"),
    )
}
"""OpenAPI links from the id in a response."""


class SendWaits(Concurrency):
    """Requests that wait for an outcome, by session."""


class LargeBodies(Concurrency):
    """Requests that carry their media themselves, of all sessions."""


class SendAnswer(BaseModel):
    """Sent (200), queued or scheduled (202). `messageId` is WhatsApp's id, `id` the gateway's."""

    success: Literal[True] = True
    messageId: str | None  # noqa: N815
    id: UUID
    status: Literal["sent", "queued", "scheduled"]


async def send_message(request: Request) -> Response:
    """Sends one message: with a session's token through that session, with an API key or the admin
    key through the one that `sessionId` names.
    """
    parts, given = parts_of(request), bearer(request)
    sender: TokenHolder | Caller
    if is_session_token(given) if given else COOKIE not in request.cookies:
        sender = await holder_of_token(parts[Credentials], given)
        if seconds := parts[RateLimit].acquire(given):
            raise over_the_rate(seconds)
    else:
        sender = await any_caller(request, (Scope.MESSAGES_SEND,))
    declared = request.headers.get("content-length", "")
    if declared.isdigit() and int(declared) > BODY_LIMIT:
        return await _send_large(request, sender, parts)
    return await _send(request, sender, await read_json(request, SendRequest))


async def _send_large(request: Request, sender: TokenHolder | Caller, parts: Parts) -> Response:
    """A body with a `data:` URL, a few at a time: it is in memory whole."""
    limit = parts[Settings].media_inline_max_bytes * 4 // 3 + BODY_LIMIT
    try:
        with parts[LargeBodies].held(None):
            body = await read_json(request, SendRequest, limit)
            if not is_inline(body.media_url):
                raise problems.Problem(
                    "body_too_large", f"The body is larger than {BODY_LIMIT // 1024} KiB."
                )
            return await _send(request, sender, body)
    except TooMany as error:
        raise problems.Problem(
            "uploads_busy", "Many large requests are under way. Try again soon."
        ) from error


async def _send(request: Request, sender: TokenHolder | Caller, body: SendRequest) -> Response:
    parts = parts_of(request)
    holder = await _session_of(sender, body, parts) if isinstance(sender, Caller) else sender
    if body.session_id not in {None, holder.session_id}:
        raise problems.not_found("session")
    options = SendOptions(
        idempotency_key=_idempotency_key(request.headers.get("idempotency-key")),
        respond_async=wants_async(request.headers.get("prefer")),
        expires_in=_expires_in(request.headers.get("x-expires-in"), parts[Settings]),
    )
    _check_media(parts[MediaAddressRule], body)
    _check_send_at(body.send_at, parts)
    await _check_session(parts, holder, options, queues=body.send_at is None)
    with held_wait(parts, holder.session_id):
        media = await stored_media(
            body,
            holder.session_id,
            parts[Uploads],
            max_bytes=parts[Settings].media_inline_max_bytes,
            views=parts[MessageViews],
            idempotency_key=options.idempotency_key,
        )
        return answer(await parts[Sending].send(holder.session_id, body, options, media))


async def _session_of(caller: Caller, body: SendRequest, parts: Parts) -> TokenHolder:
    """The session that the body names, within its rate."""
    session_id = caller.session_to_send(body.session_id)
    rate = parts[RateLimit]
    if seconds := rate.acquire(session_id):
        await asyncio.sleep(rate.refusal_delay(session_id))  # like the flood gate
        raise over_the_rate(seconds)
    holder = await parts[Credentials].of_session(session_id)
    if holder is None:
        raise problems.not_found("session")
    return holder


@contextmanager
def held_wait(parts: Parts, session_id: UUID) -> Iterator[None]:
    """Count a request of this session that waits for its outcome.

    Raises:
        Problem: 429: too many wait.
    """
    try:
        with parts[SendWaits].held(session_id):
            yield
    except TooMany as error:
        raise problems.Problem(
            "too_many_waits",
            "Too many requests of this session wait for their outcome. "
            "Send some with 'Prefer: respond-async'.",
        ) from error


route = DirectRoute(
    PATH,
    send_message,
    methods=["POST"],
    tags=["messages"],
    summary="Send a message",
    response_model=SendAnswer,
    responses={
        200: {"description": "WhatsApp acknowledged the message.", "links": _LINKS},
        202: {
            "model": SendAnswer,
            "description": "Durable; see Location for what becomes of it.",
            "links": _LINKS,
        },
        **errors(400, 401, 403, 404, 408, 409, 413, 415, 422, 429, 500, 503),
    },
    openapi_extra={
        "security": security_of(Scope.MESSAGES_SEND),
        "parameters": [
            header("idempotency-key", "1 to 255 visible characters.", pattern=KEY_PATTERN),
            header("prefer", "`respond-async` for 202 at once."),
            header(
                "x-expires-in",
                "Seconds, less than RETENTION_DAYS; 24 hours if absent.",
                type="integer",
                minimum=1,
            ),
        ],
        **json_body(SendRequest),
    },
)


def answer(result: SendResult) -> Response:
    headers = _replayed(result.replayed)
    match result.outcome:
        case Sent(whatsapp_id):
            return _accepted(200, result.message_id, whatsapp_id, "sent", headers)
        case Scheduled():
            return queued_answer(result.message_id, replayed=result.replayed, state="scheduled")
        case Queued():
            return queued_answer(result.message_id, replayed=result.replayed)
        case Refused(error):
            return problems.from_owner(error, headers=headers).response()
        case Unknown():
            return problems.outcome_unknown(result.message_id, headers=headers).response()
        case _:
            assert_never(result.outcome)


def queued_answer(
    message_id: UUID, *, replayed: bool, state: Literal["queued", "scheduled"] = "queued"
) -> Response:
    """202: durable, on its way or waiting for its time."""
    headers = {"Location": f"/api/messages/{message_id}", **_replayed(replayed)}
    return _accepted(202, message_id, None, state, headers)


def _replayed(replayed: bool) -> dict[str, str]:
    return {REPLAYED: "true"} if replayed else {}


def _accepted(
    status: int, message_id: UUID, whatsapp_id: str | None, state: str, headers: dict[str, str]
) -> Response:
    body = {"success": True, "messageId": whatsapp_id, "id": message_id, "status": state}
    return Response(to_json(body), status, headers, "application/json")


def _idempotency_key(given: str | None) -> str | None:
    if given is not None and not _KEY.fullmatch(given):
        raise problems.invalid_field(
            "Idempotency-Key", "'Idempotency-Key' must have 1 to 255 visible ASCII characters."
        )
    return given


def wants_async(prefer: str | None) -> bool:
    """Whether a `Prefer` header asks for 202 at once."""
    preferences = (
        preference.partition(";")[0].strip().lower() for preference in (prefer or "").split(",")
    )
    return "respond-async" in preferences


def _expires_in(given: str | None, settings: Settings) -> timedelta:
    if given is None:
        return DEFAULT_EXPIRY
    longest = settings.retention_days * 86_400
    if not (given.isascii() and given.isdigit() and len(given) < 12 and 0 < int(given) < longest):
        raise problems.invalid_field(
            "X-Expires-In", f"'X-Expires-In' must be whole seconds, from 1 to {longest - 1}."
        )
    return timedelta(seconds=int(given))


def _check_media(rule: MediaAddressRule, body: SendRequest) -> None:
    if body.media_url is None or is_inline(body.media_url) or not body.type.has_media:
        return
    try:
        rule.check(body.media_url)
    except MediaRefused as error:
        raise problems.invalid_field("mediaUrl", str(error)) from error


def _check_send_at(send_at: datetime | None, parts: Parts) -> None:
    if send_at is None:
        return
    days = min(LONGEST_SCHEDULE_DAYS, parts[Settings].retention_days)
    now = parts[HostClock]()
    if not now - CLOCK_TOLERANCE <= send_at <= now + timedelta(days=days):
        raise problems.invalid_field(
            "sendAt", f"'sendAt' must lie between now and {days} days ahead."
        )


async def _check_session(
    parts: Parts, holder: TokenHolder, options: SendOptions, *, queues: bool
) -> None:
    """Refuse early what the owner would refuse, unless the key belongs to a known message."""
    key = options.idempotency_key
    is_full = queues and holder.queued >= parts[Settings].session_queue_limit
    refusal = problems.session_refuses(holder.status or "")
    if refusal is None and is_full:
        refusal = problems.Problem("queue_full", "The session's queue of unsent messages is full.")
    if refusal is None:
        return
    if key is not None:
        message_id = message_id_for_key(holder.session_id, key)
        if await parts[MessageViews].has_message(message_id):
            return
    raise refusal
