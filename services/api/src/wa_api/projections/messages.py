"""The table of messages, from message events."""

from collections.abc import Collection
from dataclasses import dataclass, fields, replace
from datetime import datetime
from operator import attrgetter
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

_RECEIPTS = (MessageStatus.SENT, MessageStatus.DELIVERED, MessageStatus.READ)


@dataclass(frozen=True)
class MessageRow:
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
    match event.data:
        case MessageReceived() as received:
            return row or _received(event, received, own_number)
        case MessageQueued() as queued:  # a refused one may come again, and a key of long ago
            return replace(_outgoing(event, queued), resend_of=queued.resend_of)
        case (
            MessageSent() | MessageFailed() | MessageOutcomeUnknown() | (MessageCancelled()) as data
        ):
            return _after(row or _outgoing(event, data), event)
        case _:
            return row and _after(row, event)


def _after(row: MessageRow, event: Envelope) -> MessageRow:
    at = event.occurred_at
    match event.data:
        case MessageSent() as sent:
            return replace(
                row,
                message_id=sent.message_id,
                recipient=sent.to,
                sent_at=sent.sent_at,
                status=_raised(row, MessageStatus.SENT),
                changed_at=at,
                error_code=None,
                error_message=None,
            )
        case MessageDelivered(delivered_at=delivered_at):
            status = _raised(row, MessageStatus.DELIVERED)
            first = row.delivered_at or delivered_at
            return replace(row, delivered_at=first, status=status, changed_at=at)
        case MessageRead(read_at=read_at):
            status = _raised(row, MessageStatus.READ)
            return replace(row, read_at=row.read_at or read_at, status=status, changed_at=at)
        case MessageFailed(error=error):
            return _ended(row, MessageStatus.FAILED, at, error)
        case MessageOutcomeUnknown(error=error):
            return _ended(row, MessageStatus.UNKNOWN, at, error)
        case MessageCancelled():
            return _ended(row, MessageStatus.CANCELLED, at, None)
        case _:
            return row


def _ended(
    row: MessageRow, status: MessageStatus, at: datetime, error: ErrorDetail | None
) -> MessageRow:
    code, message = (error.code, error.message) if error else (None, None)
    return replace(row, status=status, changed_at=at, error_code=code, error_message=message)


def _raised(row: MessageRow, status: MessageStatus) -> str:
    """Delivered after read changes nothing: the status only goes up among these."""
    now = MessageStatus(row.status)
    if now in _RECEIPTS and _RECEIPTS.index(now) > _RECEIPTS.index(status):
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
    return {row["id"]: MessageRow(**dict(row)) for row in rows}


async def save(connection: Connection, rows: Collection[MessageRow]) -> None:
    """Store them."""
    columns = list(zip(*map(_VALUES, rows), strict=True))
    await connection.execute(_SAVE, *columns)


_NAMES = [field.name for field in fields(MessageRow)]
_VALUES = attrgetter(*_NAMES)  # astuple copies each value deeply
_COLUMNS = ", ".join(_NAMES)
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
