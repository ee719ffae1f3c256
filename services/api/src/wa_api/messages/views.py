"""Message look-ups from the projections, shared by the HTTP API and the dashboard."""

from dataclasses import dataclass
from typing import Annotated, Any, Literal
from uuid import UUID

import asyncpg
from pydantic import Field

from wa_api.database.pool import Database
from wa_api.http.models import View
from wa_api.http.paging import Page, Place, page_of
from wa_api.owners.liveness import HostLiveness
from wa_contracts.ids import MessageId, SessionId
from wa_contracts.internal.replies import ErrorDetail, MessageSnapshot, MessageStatus
from wa_contracts.wire import UtcDatetime


def _is_none(value: object) -> bool:
    return value is None


class Waiting(View):
    """Why a queued message could not go, and when it is tried again by itself."""

    code: str
    message: str
    next_try_at: UtcDatetime


class Message(View):
    """A message. `id` is the gateway's, `message_id` WhatsApp's; incoming ones have a `sender`.

    `waiting` is there while a queued message is set aside: other chats' messages go on.
    """

    id: UUID
    message_id: str | None
    session_id: UUID
    direction: Literal["outgoing", "incoming"]
    sender: str | None
    to: str
    type: str
    status: MessageStatus
    reference: str | None
    created_at: UtcDatetime
    sent_at: UtcDatetime | None
    delivered_at: UtcDatetime | None
    read_at: UtcDatetime | None
    error: ErrorDetail | None
    resend_of: UUID | None
    waiting: Annotated[Waiting | None, Field(exclude_if=_is_none)] = None


@dataclass(frozen=True)
class MessageFilter:
    """Messages to list. None matches any."""

    session_id: UUID | None = None
    status: MessageStatus | None = None
    to: str | None = None
    reference: str | None = None


class MessageViews:
    """Message look-ups. Methods raise DatabaseUnavailable."""

    def __init__(self, database: Database, liveness: HostLiveness) -> None:
        self._database = database
        self._liveness = liveness

    async def message(self, key: str, session_id: UUID | None) -> Message | None:
        """One message by either id, optionally of one session only; None if there is none."""
        async with self._database.connection() as connection:
            row = await connection.fetchrow(_MESSAGE, _uuid(key), key, session_id)
        return self._message(row) if row else None

    async def messages(
        self, wanted: MessageFilter, after: Place | None, limit: int
    ) -> Page[Message]:
        """Messages, newest first."""
        async with self._database.connection() as connection:
            rows = await connection.fetch(
                _MESSAGES,
                wanted.session_id,
                wanted.status,
                wanted.to,
                wanted.reference,
                after and after.created_at,
                after and after.id,
                limit + 1,
            )
        return page_of(rows, limit, self._message, lambda one: Place(one.created_at, one.id))

    async def snapshot(
        self, message_id: MessageId, session_id: SessionId
    ) -> MessageSnapshot | None:
        """A message's outcome as its owner would reply it; None if it is not projected."""
        async with self._database.connection() as connection:
            row = await connection.fetchrow(_SNAPSHOT, message_id, session_id)
        return _snapshot(row) if row else None

    def _message(self, row: asyncpg.Record) -> Message:
        values = _with_error(row)
        values["to"] = values.pop("recipient")
        if values["status"] == MessageStatus.QUEUED:
            values["waiting"] = self._waiting(values["id"])
        return Message.model_validate(values)

    def _waiting(self, message_id: UUID) -> Waiting | None:
        told = self._liveness.waiting_of(message_id)
        if told is None:
            return None
        error = told.error
        return Waiting(code=error.code, message=error.message, next_try_at=told.next_try_at)

    async def has_message(self, message_id: MessageId) -> bool:
        """True if the message is projected."""
        async with self._database.connection() as connection:
            return await connection.fetchval(_HAS_MESSAGE, message_id) is not None


def _snapshot(row: asyncpg.Record) -> MessageSnapshot:
    return MessageSnapshot.model_validate(_with_error(row))


def _with_error(row: asyncpg.Record) -> dict[str, Any]:
    values = dict(row)
    code, text = values.pop("error_code"), values.pop("error_message")
    values["error"] = ErrorDetail(code=code, message=text) if code else None
    return values


def _uuid(key: str) -> UUID | None:
    try:
        return UUID(key)
    except ValueError:
        return None


_MESSAGE_COLUMNS = """
    id, message_id, session_id, direction, sender, recipient, type, status, reference, created_at,
    sent_at, delivered_at, read_at, error_code, error_message, resend_of
"""
_MESSAGE = f"""
    SELECT {_MESSAGE_COLUMNS} FROM messages
    WHERE (id = $1 OR message_id = $2) AND ($3::uuid IS NULL OR session_id = $3)
    ORDER BY id = $1 DESC NULLS LAST LIMIT 1
"""
_MESSAGES = f"""
    SELECT {_MESSAGE_COLUMNS} FROM messages
    WHERE ($1::uuid IS NULL OR session_id = $1)
      AND ($2::text IS NULL OR status = $2)
      AND ($3::text IS NULL OR recipient = $3)
      AND ($4::text IS NULL OR reference = $4)
      AND ($5::timestamptz IS NULL OR (created_at, id) < ($5, $6::uuid))
    ORDER BY created_at DESC, id DESC LIMIT $7
"""
_SNAPSHOT = """
    SELECT id, message_id, status, error_code, error_message, correlation_id FROM messages
    WHERE id = $1 AND session_id = $2
"""
_HAS_MESSAGE = "SELECT 1 FROM messages WHERE id = $1"
