"""The table of messages, from message events."""

from collections.abc import Collection
from dataclasses import astuple, dataclass, fields, replace
from datetime import datetime
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
from wa_contracts.replies import MessageStatus

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
        case (
            MessageQueued()
            | MessageSent()
            | MessageFailed()
            | MessageOutcomeUnknown()
            | (MessageCancelled()) as data
        ):
            row = row or _outgoing(event, data)
            return _after(replace(row, error_code=None, error_message=None), event)
        case _:
            return row and _after(row, event)


def _after(row: MessageRow, event: Envelope) -> MessageRow:
    match event.data:
        case MessageQueued(resend_of=resend_of):
            return replace(row, status=MessageStatus.QUEUED, resend_of=resend_of)
        case MessageSent() as sent:
            row = replace(row, message_id=sent.message_id, recipient=sent.to, sent_at=sent.sent_at)
            return _with_receipt(row, MessageStatus.SENT)
        case MessageDelivered(delivered_at=delivered_at):
            row = replace(row, delivered_at=row.delivered_at or delivered_at)
            return _with_receipt(row, MessageStatus.DELIVERED)
        case MessageRead(read_at=read_at):
            return _with_receipt(replace(row, read_at=row.read_at or read_at), MessageStatus.READ)
        case MessageFailed(error=error):
            row = replace(row, error_code=error.code, error_message=error.message)
            return replace(row, status=MessageStatus.FAILED)
        case MessageOutcomeUnknown(error=error):
            row = replace(row, error_code=error.code, error_message=error.message)
            return replace(row, status=MessageStatus.UNKNOWN)
        case MessageCancelled():
            return replace(row, status=MessageStatus.CANCELLED)
        case _:
            return row


def _with_receipt(row: MessageRow, status: MessageStatus) -> MessageRow:
    """Delivered after read changes nothing: the status only goes up among these."""
    now = MessageStatus(row.status)
    if now in _RECEIPTS and _RECEIPTS.index(now) > _RECEIPTS.index(status):
        return row
    return replace(row, status=status)


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
        delivered_at=data.received_at,
    )


async def load(connection: Connection, ids: Collection[UUID]) -> dict[UUID, MessageRow]:
    """The rows of these messages, where there are any."""
    rows = await connection.fetch(_LOAD, list(ids))
    return {row["id"]: MessageRow(**dict(row)) for row in rows}


async def save(connection: Connection, rows: Collection[MessageRow]) -> None:
    """Store them."""
    columns = list(zip(*(astuple(row) for row in rows), strict=True))
    await connection.execute(_SAVE, *columns)


_COLUMNS = ", ".join(field.name for field in fields(MessageRow))
_LOAD = f"SELECT {_COLUMNS} FROM messages WHERE id = ANY($1::uuid[])"
_SAVE = f"""
    INSERT INTO messages ({_COLUMNS})
    SELECT * FROM unnest($1::uuid[], $2::text[], $3::uuid[], $4::text[], $5::text[], $6::text[],
        $7::text[], $8::text[], $9::text[], $10::timestamptz[], $11::timestamptz[],
        $12::timestamptz[], $13::timestamptz[], $14::text[], $15::text[], $16::uuid[])
    ON CONFLICT (id) DO UPDATE SET
        message_id = excluded.message_id, recipient = excluded.recipient,
        status = excluded.status, sent_at = excluded.sent_at,
        delivered_at = excluded.delivered_at, read_at = excluded.read_at,
        error_code = excluded.error_code, error_message = excluded.error_message,
        resend_of = excluded.resend_of
"""
