"""The messages table, projected from message events."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from operator import attrgetter
from typing import Any
from uuid import UUID

from wa_api.database.pool import Connection
from wa_contracts.envelope import Envelope
from wa_contracts.internal.replies import ErrorDetail, MessageStatus
from wa_contracts.message_events import (
    MessageCancelled,
    MessageDelivered,
    MessageEchoed,
    MessageEdited,
    MessageFailed,
    MessageOutcomeUnknown,
    MessagePlayed,
    MessageQueued,
    MessageRead,
    MessageReceived,
    MessageRetryRequested,
    MessageRevoked,
    MessageScheduled,
    MessageSent,
)
from wa_contracts.session_events import Event

_SENT, _DELIVERED, _READ = MessageStatus.SENT, MessageStatus.DELIVERED, MessageStatus.READ
_RECEIPTS: Mapping[str, int] = {_SENT: 0, _DELIVERED: 1, _READ: 2}


@dataclass(slots=True)
class MessageRow:
    """One row. The fields are the columns, in this order."""

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
    correlation_id: UUID | None = None
    edited_at: datetime | None = None
    revoked_at: datetime | None = None
    target_id: UUID | None = None
    send_at: datetime | None = None
    played_at: datetime | None = None
    retry_requested: bool = False


def evolve(row: MessageRow | None, event: Envelope, own_number: str | None) -> MessageRow | None:
    """Return the row after an event, changed in place or new.

    A receipt for a deleted message creates no row.
    """
    data = event.data
    if isinstance(data, MessageReceived):  # its content may come after it could not be decrypted
        if row is not None and row.type != "undecryptable":
            return row
        if isinstance(data, MessageEchoed):
            return _echoed(event, data)
        return _received(event, data, own_number)
    if type(data) is MessageScheduled:
        return _scheduled(event, data)
    if type(data) is MessageQueued and row is not None and row.status == MessageStatus.SCHEDULED:
        row.changed_at, row.status = event.occurred_at, MessageStatus.QUEUED
        return row
    if type(data) is MessageQueued:  # a refused message may be queued again, or a key reused
        return _outgoing(event, data, data.resend_of, data.target_id)
    if row is None and isinstance(data, _OUTCOMES):
        row = _outgoing(event, data)
    if row is None or (change := _CHANGES.get(type(data))) is None:
        return row
    row.changed_at = event.occurred_at
    change(row, data)
    return row


def _sent(row: MessageRow, data: MessageSent) -> None:
    row.message_id = data.message_id
    row.recipient = data.to
    row.sent_at = data.sent_at
    row.error_code = row.error_message = None
    _raise(row, _SENT)


def _delivered(row: MessageRow, data: MessageDelivered) -> None:
    row.delivered_at = row.delivered_at or data.delivered_at
    _raise(row, _DELIVERED)


def _read(row: MessageRow, data: MessageRead) -> None:
    row.read_at = row.read_at or data.read_at
    _raise(row, _READ)


def _played(row: MessageRow, data: MessagePlayed) -> None:
    row.played_at = row.played_at or data.played_at


def _unreadable(row: MessageRow, _: MessageRetryRequested) -> None:
    row.retry_requested = True


def _failed(row: MessageRow, data: MessageFailed) -> None:
    _end(row, MessageStatus.FAILED, data.error)


def _unknown(row: MessageRow, data: MessageOutcomeUnknown) -> None:
    _end(row, MessageStatus.UNKNOWN, data.error)


def _cancelled(row: MessageRow, _: MessageCancelled) -> None:
    _end(row, MessageStatus.CANCELLED, None)


def _edited(row: MessageRow, data: MessageEdited) -> None:
    row.edited_at = data.edited_at


def _revoked(row: MessageRow, data: MessageRevoked) -> None:
    row.revoked_at = data.revoked_at


_OUTCOMES = (MessageSent, MessageFailed, MessageOutcomeUnknown, MessageCancelled)
_CHANGES: Mapping[type[Event], Callable[[MessageRow, Any], None]] = {
    MessageSent: _sent,
    MessageDelivered: _delivered,
    MessageRead: _read,
    MessagePlayed: _played,
    MessageRetryRequested: _unreadable,
    MessageFailed: _failed,
    MessageOutcomeUnknown: _unknown,
    MessageCancelled: _cancelled,
    MessageEdited: _edited,
    MessageRevoked: _revoked,
}
"""Keyed by exact type: `isinstance` on pydantic models is slow."""


def _end(row: MessageRow, status: MessageStatus, error: ErrorDetail | None) -> None:
    row.status = status
    row.error_code, row.error_message = (error.code, error.message) if error else (None, None)


def _raise(row: MessageRow, status: MessageStatus) -> None:
    """Raise the status along sent, delivered, read. A late "delivered" does not undo "read"."""
    if _RECEIPTS.get(row.status, -1) < _RECEIPTS[status]:
        row.status = status


def _outgoing(
    event: Envelope,
    data: MessageScheduled
    | MessageQueued
    | MessageSent
    | MessageFailed
    | MessageOutcomeUnknown
    | MessageCancelled,
    resend_of: UUID | None = None,
    target_id: UUID | None = None,
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
        resend_of=resend_of,
        correlation_id=event.correlation_id,
        target_id=target_id,
    )


def _scheduled(event: Envelope, data: MessageScheduled) -> MessageRow:
    row = _outgoing(event, data)
    row.status, row.send_at = MessageStatus.SCHEDULED, data.send_at
    return row


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


def _echoed(event: Envelope, data: MessageEchoed) -> MessageRow:
    """What the owner wrote on another device: sent, from here as well."""
    return MessageRow(
        id=data.id,
        message_id=data.message_id,
        session_id=event.session_id,
        direction="outgoing",
        sender=None,
        recipient=data.chat,
        type=data.type,
        status=_SENT,
        reference=None,
        created_at=data.received_at,
        changed_at=event.occurred_at,
        sent_at=data.received_at,
    )


async def load(connection: Connection, ids: Collection[UUID]) -> dict[UUID, MessageRow]:
    rows = await connection.fetch(_LOAD, list(ids))
    return {row["id"]: MessageRow(*row) for row in rows}


async def save(connection: Connection, rows: Collection[MessageRow]) -> None:
    await connection.execute(_SAVE, *zip(*map(_AS_TUPLE, rows), strict=True))


_NAMES = [field.name for field in fields(MessageRow)]
_AS_TUPLE = attrgetter(*_NAMES)
_COLUMNS = ", ".join(_NAMES)
_LOAD = f"SELECT {_COLUMNS} FROM messages WHERE id = ANY($1::uuid[])"
_SAVE = f"""
    INSERT INTO messages ({_COLUMNS})
    SELECT * FROM unnest($1::uuid[], $2::text[], $3::uuid[], $4::text[], $5::text[], $6::text[],
        $7::text[], $8::text[], $9::text[], $10::timestamptz[], $11::timestamptz[],
        $12::timestamptz[], $13::timestamptz[], $14::timestamptz[], $15::text[], $16::text[],
        $17::uuid[], $18::uuid[], $19::timestamptz[], $20::timestamptz[],
        $21::uuid[], $22::timestamptz[], $23::timestamptz[], $24::boolean[])
    ON CONFLICT (id) DO UPDATE SET
        message_id = excluded.message_id, recipient = excluded.recipient, type = excluded.type,
        reference = excluded.reference, created_at = excluded.created_at,
        status = excluded.status, changed_at = excluded.changed_at, sent_at = excluded.sent_at,
        delivered_at = excluded.delivered_at, read_at = excluded.read_at,
        error_code = excluded.error_code, error_message = excluded.error_message,
        resend_of = excluded.resend_of, correlation_id = excluded.correlation_id,
        edited_at = excluded.edited_at, revoked_at = excluded.revoked_at,
        target_id = excluded.target_id, send_at = excluded.send_at,
        played_at = excluded.played_at, retry_requested = excluded.retry_requested
"""
