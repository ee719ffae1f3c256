"""What clients and the page see of sessions and messages: reads only, the same for both."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal
from uuid import UUID

import asyncpg
from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from wa_api.database.pool import Database
from wa_api.http.paging import Page, Place
from wa_api.owners.liveness import HostLiveness
from wa_contracts.ids import MessageId, SessionId
from wa_contracts.internal.replies import ErrorDetail, MessageStatus
from wa_contracts.session_events import DesiredState, SessionStatus
from wa_contracts.wire import UtcDatetime

HOST_SILENT = "host_silent"


def _is_none(value: object) -> bool:
    return value is None


class View(BaseModel):
    """A value as clients see it: camelCase names."""

    model_config = ConfigDict(
        frozen=True, alias_generator=to_camel, validate_by_name=True, serialize_by_alias=True
    )


class Pacing(View):
    """How fast a session may send. Days are those of UTC; `next_send_at` is None if it may now."""

    per_minute: float | None
    per_day: int | None
    sent_today: int
    next_send_at: UtcDatetime | None


class Session(View):
    """A session. `connected_at` is the start of the present working period, or None.

    `pacing` is left out where its sends are not limited.
    """

    session_id: UUID
    name: str | None
    phone_number: str | None
    status: SessionStatus
    status_reason: str | None
    desired_state: DesiredState
    connected_at: UtcDatetime | None
    created_at: UtcDatetime
    last_error: str | None
    pacing: Annotated[Pacing | None, Field(exclude_if=_is_none)] = None


class SessionWithToken(Session):
    """A session with its token: only from create, rotate and show."""

    token: str


class QRCode(View):
    """A QR code's text and the time until which it can be scanned."""

    qr: str
    expires_at: UtcDatetime


class Message(View):
    """A message. `id` is ours, `message_id` WhatsApp's; `sender` only of incoming ones."""

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


@dataclass(frozen=True)
class MessageFilter:
    """Which messages to list; None means any."""

    session_id: UUID | None = None
    status: MessageStatus | None = None
    to: str | None = None
    reference: str | None = None


class Views:
    """Reads of the projections. Every method raises DatabaseUnavailable while they cannot be read.

    A session that the projection calls working is shown so only while its host gives signs of life.
    """

    def __init__(self, database: Database, liveness: HostLiveness) -> None:
        self._database = database
        self._liveness = liveness

    async def session(self, session_id: UUID) -> Session | None:
        """One session."""
        async with self._database.connection() as connection:
            row = await connection.fetchrow(_SESSION, self._liveness.live_partitions(), session_id)
        return self._session(row) if row else None

    async def sessions(
        self, status: SessionStatus | None, after: Place | None, limit: int
    ) -> Page[Session]:
        """Sessions, newest first."""
        async with self._database.connection() as connection:
            rows = await connection.fetch(
                _SESSIONS,
                self._liveness.live_partitions(),
                status,
                after and after.created_at,
                after and after.id,
                limit + 1,
            )
        items = [self._session(row) for row in rows[:limit]]
        last = Place(items[-1].created_at, items[-1].session_id) if len(rows) > limit else None
        return Page(items=items, next_cursor=last and last.cursor())

    def _session(self, row: asyncpg.Record) -> Session:
        pace = self._liveness.pace_of(row["session_id"])
        pacing = None if pace is None else Pacing(**pace.model_dump(by_alias=False))
        return Session.model_validate({**row, "pacing": pacing})

    async def qr_code(self, session_id: UUID) -> QRCode | None:
        """The code to scan now, or None if there is none or it ran out."""
        async with self._database.connection() as connection:
            row = await connection.fetchrow(_QR, session_id)
        return QRCode(qr=row["qr"], expires_at=row["qr_expires_at"]) if row else None

    async def message(self, key: str, session_id: UUID | None) -> Message | None:
        """One message by our id or WhatsApp's, of any session or of this one."""
        async with self._database.connection() as connection:
            row = await connection.fetchrow(_MESSAGE, _uuid(key), key, session_id)
        return _message(row) if row else None

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
        items = [_message(row) for row in rows[:limit]]
        last = Place(items[-1].created_at, items[-1].id) if len(rows) > limit else None
        return Page(items=items, next_cursor=last and last.cursor())

    async def has_message(self, message_id: MessageId) -> bool:
        """Whether the projection knows the message."""
        async with self._database.connection() as connection:
            return await connection.fetchval(_HAS_MESSAGE, message_id) is not None

    async def applied_sequence(self, session_id: SessionId) -> int:
        """Up to which of its events the session is projected; 0 for none."""
        async with self._database.connection() as connection:
            return await connection.fetchval(_APPLIED, session_id) or 0


def _message(row: asyncpg.Record) -> Message:
    values = dict(row)
    code, text = values.pop("error_code"), values.pop("error_message")
    values["error"] = ErrorDetail(code=code, message=text) if code else None
    values["to"] = values.pop("recipient")
    return Message.model_validate(values)


def _uuid(key: str) -> UUID | None:
    try:
        return UUID(key)
    except ValueError:
        return None


SHOWN_SESSIONS = f"""
    SELECT session_id, name, phone_number, desired_state, created_at, last_error,
           CASE WHEN silent THEN 'disconnected' ELSE status END AS status,
           CASE WHEN silent THEN '{HOST_SILENT}' ELSE status_reason END AS status_reason,
           CASE WHEN silent THEN NULL ELSE connected_at END AS connected_at
    FROM (SELECT *, status = 'working' AND NOT partition = ANY($1::int[]) AS silent
          FROM sessions) AS heard
"""
_SESSION = f"SELECT * FROM ({SHOWN_SESSIONS}) AS shown WHERE session_id = $2"
_SESSIONS = f"""
    SELECT * FROM ({SHOWN_SESSIONS}) AS shown
    WHERE ($2::text IS NULL OR status = $2)
      AND ($3::timestamptz IS NULL OR (created_at, session_id) < ($3, $4::uuid))
    ORDER BY created_at DESC, session_id DESC LIMIT $5
"""
_QR = """
    SELECT qr, qr_expires_at FROM sessions
    WHERE session_id = $1 AND qr IS NOT NULL AND qr_expires_at > now()
"""
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
_HAS_MESSAGE = "SELECT 1 FROM messages WHERE id = $1"
_APPLIED = "SELECT applied_sequence FROM checkpoints WHERE session_id = $1"

__all__: Sequence[str] = (
    "SHOWN_SESSIONS",
    "Message",
    "MessageFilter",
    "QRCode",
    "Session",
    "SessionWithToken",
    "Views",
)
