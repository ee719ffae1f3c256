"""Every error that clients see: its code, its status, its sentence, its body. Statuses live here only."""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from fastapi import Request, Response
from pydantic import BaseModel
from pydantic_core import ErrorDetails, to_json
from starlette.types import Receive, Scope, Send

from wa_api.http.base_path import base_path_of
from wa_contracts.internal.refusals import refusal
from wa_contracts.internal.replies import ErrorDetail
from wa_contracts.session_events import SessionStatus

ERROR_REFERENCE = "/docs/errors"
"""The page with a row for each code."""

_STATUS: Mapping[str, int] = {
    "invalid_request": 400,
    "unauthorized": 401,
    "forbidden": 403,
    "csrf_failed": 403,
    "insufficient_scope": 403,
    "media_link_invalid": 403,
    "not_found": 404,
    "session_not_found": 404,
    "message_not_found": 404,
    "dead_letter_not_found": 404,
    "media_not_found": 404,
    "webhook_not_found": 404,
    "delivery_not_found": 404,
    "key_not_found": 404,
    "method_not_allowed": 405,
    "request_too_slow": 408,
    "not_acceptable": 406,
    "pairing_unavailable": 409,
    "token_unreadable": 409,
    "not_cancellable": 409,
    "not_resendable": 409,
    "not_editable": 409,
    "not_revocable": 409,
    "not_readable": 409,
    "message_cancelled": 409,
    "media_not_kept": 409,
    "queue_gone": 409,
    "media_gone": 410,
    "media_link_expired": 410,
    "event_gone": 410,
    "body_too_large": 413,
    "media_too_large": 413,
    "unsupported_media_type": 415,
    "idempotency_conflict": 422,
    "rate_limited": 429,
    "queue_full": 429,
    "too_many_attempts": 429,
    "too_many_waits": 429,
    "too_many_streams": 429,
    "too_many_uploads": 429,
    "media_quota_exceeded": 429,
    "headers_too_large": 431,
    "broker_unavailable": 503,
    "database_unavailable": 503,
    "host_unavailable": 503,
    "uploads_busy": 503,
    "media_store_unavailable": 503,
}
_INVALID_AFTER_ALL = frozenset({"media_invalid", "media_refused"})
_RETRY_AFTER: Mapping[str, int] = {
    "queue_full": 30,
    "rate_limited": 1,
    "too_many_waits": 1,
    "too_many_streams": 5,
    "too_many_uploads": 5,
    "media_quota_exceeded": 3600,
    "uploads_busy": 5,
    "media_store_unavailable": 10,
    "broker_unavailable": 2,
    "database_unavailable": 2,
    "host_unavailable": 5,
}


class Detail(BaseModel):
    """One field that is wrong, and why."""

    field: str
    message: str


class ErrorBody(BaseModel):
    """The body of every error. `docs` is the address of the code's row in the reference.

    `id` names the message where its outcome is unknown.
    """

    success: bool = False
    error: str
    code: str
    details: list[Detail] = []
    docs: str


class Problem(Exception):
    """An answer that is an error. `code` decides the status, unless the same code means two things."""

    def __init__(
        self,
        code: str,
        sentence: str,
        *,
        details: Sequence[Detail] = (),
        headers: Mapping[str, str] | None = None,
        message_id: UUID | None = None,
        status: int | None = None,
    ) -> None:
        super().__init__(code)
        self.code = code
        self.status = status or status_of(code)
        self.sentence = sentence
        self.details = tuple(details)
        self.message_id = message_id
        self.headers = {**_standing_headers(code), **(headers or {})}

    def response(self) -> "ProblemResponse":
        """The HTTP answer."""
        body: dict[str, Any] = {
            "success": False,
            "error": self.sentence,
            "code": self.code,
            "details": [detail.model_dump() for detail in self.details],
            "docs": f"{ERROR_REFERENCE}#{self.code}",
        }
        if self.message_id is not None:
            body["id"] = str(self.message_id)
        return ProblemResponse(body, self.status, self.headers)


class ProblemResponse(Response):
    """The answer of a problem. Its reference is below the path of a proxy, if there is one."""

    def __init__(self, told: dict[str, Any], status: int, headers: Mapping[str, str]) -> None:
        self._told = told
        self._status = status
        self._given = headers
        super().__init__(to_json(told), status, headers, "application/json")

    def below(self, base: str) -> Response:
        """The same answer below a path."""
        told = {**self._told, "docs": f"{base}{self._told['docs']}"}
        return Response(to_json(told), self._status, self._given, "application/json")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        base = base_path_of(scope)
        if base:
            await self.below(base)(scope, receive, send)
        else:
            await super().__call__(scope, receive, send)


def status_of(code: str) -> int:
    """The status of a code: from the table; a session's state is a conflict; all else is a failure."""
    if code in _STATUS:
        return _STATUS[code]
    return 409 if code.startswith("session_") else 500


def invalid_request(details: Sequence[Detail]) -> Problem:
    """400 with what is wrong, field by field."""
    return Problem("invalid_request", " ".join(d.message for d in details), details=details)


def invalid_field(field: str, message: str) -> Problem:
    """400 about one field or header."""
    return invalid_request([Detail(field=field, message=message)])


def unauthorized(sentence: str = "A valid Bearer token is required.") -> Problem:
    """401. The header says how to do better."""
    return Problem("unauthorized", sentence)


def not_found(what: str) -> Problem:
    """404 for a session, message, dead letter, webhook or delivery: nothing there, or nothing that this caller may see."""
    return Problem(f"{what}_not_found", f"There is no such {what.replace('_', ' ')}.")


def no_qr(code: str, sentence: str) -> Problem:
    """404: there is no QR code to show; the code says why."""
    return Problem(code, sentence, status=404)


def token_unreadable() -> Problem:
    """409: the token holds, but its copy for showing is under another key."""
    return Problem(
        "token_unreadable",
        "The token goes on working but cannot be shown: it was encrypted with another "
        "TOKEN_ENCRYPTION_KEY. Rotate it to have one that can.",
    )


def broker_unavailable() -> Problem:
    """503: nothing was written."""
    return Problem(
        "broker_unavailable", "The message broker is away. Nothing was accepted; try again shortly."
    )


def database_unavailable() -> Problem:
    """503: nothing was accepted."""
    return Problem(
        "database_unavailable", "The database is away. Nothing was accepted; try again shortly."
    )


def no_answer() -> Problem:
    """503: the broker has the request, no session-host took it up. It may still, for 30 s."""
    return Problem("host_unavailable", "No session-host answered. Try again in a moment.")


def command_in_doubt() -> Problem:
    """500: the broker did not confirm an operator's command."""
    return Problem(
        "outcome_unknown",
        "The message broker did not confirm the command: it may have been accepted. Look at the "
        "present state, then repeat the request; a repeat does no harm.",
    )


def outcome_unknown(message_id: UUID, *, headers: Mapping[str, str] | None = None) -> Problem:
    """500: it may have been sent. Look the id up before sending again."""
    return Problem(
        "outcome_unknown",
        "Nobody can know whether the message was sent. It is not sent again by itself.",
        message_id=message_id,
        headers=headers,
    )


def from_owner(error: ErrorDetail, *, headers: Mapping[str, str] | None = None) -> Problem:
    """What the session's owner refused or saw fail, as the client sees it."""
    if error.code in _INVALID_AFTER_ALL:
        detail = Detail(field="mediaUrl", message=error.message)
        return Problem("invalid_request", error.message, details=[detail], headers=headers)
    return Problem(error.code, error.message, headers=headers)


def session_refuses(state: str) -> Problem | None:
    """409 if a session in this state takes no messages, otherwise None."""
    error = refusal(SessionStatus(state)) if state else None
    return from_owner(error) if error else None


def details_of(errors: Sequence[ErrorDetails]) -> list[Detail]:
    """What pydantic found as sentences that name the field; never with the value given."""
    return [_detail(error) for error in errors]


def _detail(error: ErrorDetails) -> Detail:
    where = [str(part) for part in error["loc"] if part not in {"body", "query", "path"}]
    field = ".".join(where)
    kind, context = error["type"], error.get("ctx", {})
    if error["msg"].startswith("'"):  # a sentence of ours; the kind names the field
        return Detail(field=field or kind, message=error["msg"])
    if kind == "json_invalid":
        reason = context.get("error", "it cannot be read")
        return Detail(field="body", message=f"The body is not valid JSON: {reason}.")
    if not field:
        return Detail(field="body", message="The body must be a JSON object.")
    return Detail(field=field, message=_sentence(field, kind, context, error["msg"]))


def _sentence(field: str, kind: str, context: Mapping[str, Any], message: str) -> str:
    match kind:
        case "missing":
            return f"'{field}' is required."
        case "enum" | "literal_error":
            return f"'{field}' must be one of {context.get('expected')}."
        case "string_type":
            return f"'{field}' must be a string."
        case "string_too_long":
            return f"'{field}' has at most {context['max_length']:,} characters."
        case "string_too_short":
            return f"'{field}' has at least {context['min_length']:,} characters."
        case "too_long" | "too_short":
            bound = context.get("max_length", context.get("min_length"))
            unit = "items" if context.get("field_type") == "List" else "characters"
            return f"'{field}' has at {'most' if kind == 'too_long' else 'least'} {bound:,} {unit}."
        case "value_error":
            said = str(context.get("error", message))
            return said if said.startswith("'") else f"'{field}' {said}."
        case _:
            return f"'{field}': {message}."


def _standing_headers(code: str) -> dict[str, str]:
    headers = {}
    if code == "unauthorized":
        headers["WWW-Authenticate"] = "Bearer"
    if code in _RETRY_AFTER:
        headers["Retry-After"] = str(_RETRY_AFTER[code])
    return headers


async def answer_problem(_: Request, error: Exception) -> Response:
    """FastAPI's handler for `Problem`."""
    assert isinstance(error, Problem)
    return error.response()


def media_store_unavailable() -> Problem:
    """503: uploads cannot be stored or read."""
    return Problem("media_store_unavailable", "The media store is not reachable. Try again later.")
