"""The table of messages, from message events."""

from collections.abc import Callable, Collection, Mapping
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from wa_api.database import Connection
from wa_contracts.envelope import Envelope
from wa_contracts.message_events import (
    MessageCancelled,
    MessageDelivered,
    MessageFailed,
    MessageOutcomeUnknown,
    MessageQueued,
    MessageRead,
    MessageReceived,
    MessageSent,
)
from wa_contracts.replies import ErrorDetail, MessageStatus
from wa_contracts.session_events import Event

_RECEIPTS: Mapping[str, int] = {
    MessageStatus.SENT: 0,
    MessageStatus.DELIVERED: 1,
    MessageStatus.READ: 2,
}


class MessageRow(NamedTuple):
    """One row; the fields are the table's columns, in this order."""

    id: UUID
    message_id: str | None
    session_id: UUID
    direction: str
    sender: str | None
    recipient: str
    type: str
    status: str
    reference: str | None
    created_at: datetime
    changed_at: datetime
    sent_at: datetime | None = None
    delivered_at: datetime | None = None
    read_at: datetime | None = None
    error_code: str | None = None
    error_message: str | None = None
    resend_of: UUID | None = None


def evolve(row: MessageRow | None, event: Envelope, own_number: str | None) -> MessageRow | None:
    """The row after an event. A receipt of a message that is forgotten brings no row back."""
    data = event.data
    if type(data) is MessageReceived:
        return row or _received(event, data, own_number)
    if type(data) is MessageQueued:  # a refused one may come again, and a key of long ago
        return _outgoing(event, data)._replace(resend_of=data.resend_of)
    if row is None and isinstance(data, _OUTCOMES):
        row = _outgoing(event, data)
    if row is None or (change := _CHANGES.get(type(data))) is None:
        return row
    return change(row, data, event.occurred_at)


def _sent(row: MessageRow, data: MessageSent, at: datetime) -> MessageRow:
    return row._replace(
        message_id=data.message_id,
        recipient=data.to,
        sent_at=data.sent_at,
        status=_raised(row, MessageStatus.SENT),
        changed_at=at,
        error_code=None,
        error_message=None,
    )


def _delivered(row: MessageRow, data: MessageDelivered, at: datetime) -> MessageRow:
    status = _raised(row, MessageStatus.DELIVERED)
    first = row.delivered_at or data.delivered_at
    return row._replace(delivered_at=first, status=status, changed_at=at)


def _read(row: MessageRow, data: MessageRead, at: datetime) -> MessageRow:
    status = _raised(row, MessageStatus.READ)
    return row._replace(read_at=row.read_at or data.read_at, status=status, changed_at=at)


def _failed(row: MessageRow, data: MessageFailed, at: datetime) -> MessageRow:
    return _ended(row, MessageStatus.FAILED, at, data.error)


def _unknown(row: MessageRow, data: MessageOutcomeUnknown, at: datetime) -> MessageRow:
    return _ended(row, MessageStatus.UNKNOWN, at, data.error)


def _cancelled(row: MessageRow, _: MessageCancelled, at: datetime) -> MessageRow:
    return _ended(row, MessageStatus.CANCELLED, at, None)


_OUTCOMES = (MessageSent, MessageFailed, MessageOutcomeUnknown, MessageCancelled)
_CHANGES: Mapping[type[Event], Callable[[MessageRow, Any, datetime], MessageRow]] = {
    MessageSent: _sent,
    MessageDelivered: _delivered,
    MessageRead: _read,
    MessageFailed: _failed,
    MessageOutcomeUnknown: _unknown,
    MessageCancelled: _cancelled,
}
"""By the very type: to ask a pydantic model's class whether it is another's takes long."""


def _ended(
    row: MessageRow, status: MessageStatus, at: datetime, error: ErrorDetail | None
) -> MessageRow:
    code, message = (error.code, error.message) if error else (None, None)
    return row._replace(status=status, changed_at=at, error_code=code, error_message=message)


def _raised(row: MessageRow, status: MessageStatus) -> str:
    """Delivered after read changes nothing: the status only goes up among these."""
    if _RECEIPTS.get(row.status, -1) > _RECEIPTS[status]:
        return row.status
    return status


def _outgoing(
    event: Envelope,
    data: MessageQueued | MessageSent | MessageFailed | MessageOutcomeUnknown | MessageCancelled,
) -> MessageRow:
    return MessageRow(
        id=data.id,
        message_id=None,
        session_id=event.session_id,
        direction="outgoing",
        sender=None,
        recipient=data.to,
        type=data.type,
        status=MessageStatus.QUEUED,
        reference=data.reference,
        created_at=event.occurred_at,
        changed_at=event.occurred_at,
    )


def _received(event: Envelope, data: MessageReceived, own_number: str | None) -> MessageRow:
    return MessageRow(
        id=data.id,
        message_id=data.message_id,
        session_id=event.session_id,
        direction="incoming",
        sender=data.sender_number or data.sender,
        recipient=data.chat if data.is_group else own_number or data.chat,
        type=data.type,
        status=MessageStatus.DELIVERED,
        reference=None,
        created_at=data.received_at,
        changed_at=event.occurred_at,
        delivered_at=data.received_at,
    )


async def load(connection: Connection, ids: Collection[UUID]) -> dict[UUID, MessageRow]:
    """The rows of these messages, where there are any."""
    rows = await connection.fetch(_LOAD, list(ids))
    return {row["id"]: MessageRow(*row) for row in rows}


async def save(connection: Connection, rows: Collection[MessageRow]) -> None:
    """Store them."""
    await connection.execute(_SAVE, *zip(*rows, strict=True))


_COLUMNS = ", ".join(MessageRow._fields)
_LOAD = f"SELECT {_COLUMNS} FROM messages WHERE id = ANY($1::uuid[])"
_SAVE = f"""
    INSERT INTO messages ({_COLUMNS})
    SELECT * FROM unnest($1::uuid[], $2::text[], $3::uuid[], $4::text[], $5::text[], $6::text[],
        $7::text[], $8::text[], $9::text[], $10::timestamptz[], $11::timestamptz[],
        $12::timestamptz[], $13::timestamptz[], $14::timestamptz[], $15::text[], $16::text[],
        $17::uuid[])
    ON CONFLICT (id) DO UPDATE SET
        message_id = excluded.message_id, recipient = excluded.recipient, type = excluded.type,
        reference = excluded.reference, created_at = excluded.created_at,
        status = excluded.status, changed_at = excluded.changed_at, sent_at = excluded.sent_at,
        delivered_at = excluded.delivered_at, read_at = excluded.read_at,
        error_code = excluded.error_code, error_message = excluded.error_message,
        resend_of = excluded.resend_of
"""
