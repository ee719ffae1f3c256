"""Message look-ups from the projections, shared by the HTTP API and the dashboard."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Annotated, Any, Literal, TypeAlias, get_args
from uuid import UUID

import asyncpg
from pydantic import Field

from wa_api.database.pool import Connection, Database
from wa_api.http.models import View
from wa_api.http.paging import Page, Place, page_of
from wa_api.owners.liveness import HostLiveness
from wa_contracts.ids import MessageId, SessionId
from wa_contracts.internal.replies import ErrorDetail, MessageSnapshot, MessageStatus
from wa_contracts.wire import UtcDatetime

Direction: TypeAlias = Literal["outgoing", "incoming"]
Sessions: TypeAlias = Collection[UUID] | None
"""The sessions to look through; None: all."""


def _is_none(value: object) -> bool:
    return value is None


class Waiting(View):
    """Why a queued message could not go, and when it is tried again by itself."""

    code: str
    message: str
    next_try_at: UtcDatetime


class Message(View):
    """A message. `id` is the gateway's, `message_id` WhatsApp's; incoming ones have a `sender`.

    `target_id` is the message that an `edit` or a `revoke` changes. `retry_requested`: its
    recipient's phone could not read it, and will not get it anew by itself.
    `waiting` is there while a queued message is set aside: other chats' messages go on.
    """

    id: UUID
    message_id: str | None
    session_id: UUID
    direction: Direction
    sender: str | None
    to: str
    type: str
    status: MessageStatus
    reference: str | None
    created_at: UtcDatetime
    send_at: UtcDatetime | None
    sent_at: UtcDatetime | None
    delivered_at: UtcDatetime | None
    read_at: UtcDatetime | None
    played_at: UtcDatetime | None
    retry_requested: bool
    error: ErrorDetail | None
    resend_of: UUID | None
    target_id: UUID | None
    edited_at: UtcDatetime | None
    revoked_at: UtcDatetime | None
    waiting: Annotated[Waiting | None, Field(exclude_if=_is_none)] = None


@dataclass(frozen=True)
class MessageFilter:
    """Messages to list. None matches any."""

    session_id: UUID | None = None
    status: MessageStatus | None = None
    to: str | None = None
    reference: str | None = None
    direction: Direction | None = None


class MessageViews:
    """Message look-ups. Methods raise DatabaseUnavailable."""

    def __init__(self, database: Database, liveness: HostLiveness) -> None:
        self._database = database
        self._liveness = liveness

    async def message(self, key: str, sessions: Sessions) -> Message | None:
        """One message by either id, of these sessions only; None if there is none."""
        among = None if sessions is None else list(sessions)
        async with self._database.connection() as connection:
            row = await connection.fetchrow(_MESSAGE, _uuid(key), key, among)
        return self._message(row) if row else None

    async def messages(
        self, wanted: MessageFilter, after: Place | None, limit: int
    ) -> Page[Message]:
        """Messages, newest first. A page costs the same however many messages are stored."""
        async with self._database.connection() as connection:
            rows = await self._rows(connection, wanted, after, limit)
        return self._page(rows, limit)

    async def messages_of(
        self, sessions: Collection[UUID], wanted: MessageFilter, after: Place | None, limit: int
    ) -> Page[Message]:
        """The same, of some sessions: each is looked through, up to a page."""
        rows: list[asyncpg.Record] = []
        async with self._database.connection() as connection:
            for one in sessions:
                rows += await self._rows(connection, replace(wanted, session_id=one), after, limit)
        rows.sort(key=lambda row: (row["created_at"], row["id"]), reverse=True)
        return self._page(rows, limit)

    def _page(self, rows: Sequence[asyncpg.Record], limit: int) -> Page[Message]:
        return page_of(rows, limit, self._message, lambda one: Place(one.created_at, one.id))

    async def _rows(
        self, connection: Connection, wanted: MessageFilter, after: Place | None, limit: int
    ) -> Sequence[asyncpg.Record]:
        values = {
            "session_id": wanted.session_id,
            "recipient": wanted.to,
            "reference": wanted.reference,
            "status": wanted.status,
            "direction": wanted.direction,
            "created_at": after and after.created_at,
            "id": after and after.id,
        }
        given = {column: value for column, value in values.items() if value is not None}
        return await connection.fetch(_messages(tuple(given)), *given.values(), limit + 1)

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
    sent_at, delivered_at, read_at, played_at, retry_requested, error_code, error_message, resend_of,
    edited_at, revoked_at, target_id, send_at
"""
# A deleted session's messages are deleted in batches, but not shown in the meantime. `coalesce`
# hides the comparison from the planner: with few sessions it would expect nearly no row to pass.
_NOT_REMOVED = """
    coalesce(session_id <> ALL (ARRAY(SELECT session_id FROM removed_sessions)), true)
"""
_MESSAGE = f"""
    SELECT {_MESSAGE_COLUMNS} FROM messages
    WHERE (id = $1 OR message_id = $2) AND ($3::uuid[] IS NULL OR session_id = ANY($3)) AND {_NOT_REMOVED}
    ORDER BY id = $1 DESC NULLS LAST LIMIT 1
"""


@cache
def _messages(given: tuple[str, ...]) -> str:
    """The page for these columns, which are the first parameters; the last one is the limit.

    Each combination has an index (0007_lookup_indexes.sql) whose rows are those of the page. Only a
    recipient's or a reference's rows are filtered by state.
    """
    at = {column: f"${number}" for number, column in enumerate(given, start=1)}
    limit = f"LIMIT ${len(at) + 1}"
    if {"status", "direction"} & at.keys() and not {"recipient", "reference"} & at.keys():
        return _messages_by_state(at, limit)
    conditions = [f"{column} = {at[column]}" for column in given if column in _FILTERS]
    if "id" in at:
        conditions.append(f"(created_at, id) < ({at['created_at']}, {at['id']})")
    return f"""
        SELECT {_MESSAGE_COLUMNS} FROM messages WHERE {" AND ".join([*conditions, _NOT_REMOVED])}
        {_NEWEST_FIRST} {limit}
    """


def _messages_by_state(at: Mapping[str, str], limit: str) -> str:
    """The newest of each wanted pair of status and direction, merged.

    Rows are compared, not columns: only the index of these columns has that order, whatever the
    planner expects of a status.
    """
    session = ["session_id"] if "session_id" in at else []
    columns, state = [*session, "status", "direction"], ["statuses.one", "directions.one"]
    begin = [*(at[column] for column in session), *state]
    upper = f"({', '.join(columns)}) <= ({', '.join(begin)})"
    if "id" in at:
        end = [*begin, at["created_at"], at["id"]]
        upper = f"({', '.join([*columns, 'created_at', 'id'])}) < ({', '.join(end)})"
    return f"""
        SELECT found.* FROM unnest(ARRAY[{at.get("status", _STATUSES)}]::text[]) AS statuses (one)
        CROSS JOIN unnest(ARRAY[{at.get("direction", _DIRECTIONS)}]::text[]) AS directions (one)
        CROSS JOIN LATERAL (
            SELECT {_MESSAGE_COLUMNS} FROM messages
            WHERE ({", ".join(columns)}) >= ({", ".join(begin)}) AND {upper} AND {_NOT_REMOVED}
            ORDER BY {", ".join(f"{name} DESC" for name in (*columns, "created_at", "id"))} {limit}
        ) AS found {_NEWEST_FIRST} {limit}
    """


_NEWEST_FIRST = "ORDER BY created_at DESC, id DESC"
_FILTERS = ("session_id", "recipient", "reference", "status", "direction")
_STATUSES = ", ".join(f"'{status}'" for status in MessageStatus)
_DIRECTIONS = ", ".join(f"'{direction}'" for direction in get_args(Direction))
_SNAPSHOT = """
    SELECT id, message_id, status, error_code, error_message, correlation_id FROM messages
    WHERE id = $1 AND session_id = $2
"""
_HAS_MESSAGE = "SELECT 1 FROM messages WHERE id = $1"
