"""The sessions table, projected from session events."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from operator import attrgetter
from uuid import UUID

from wa_api.database.pool import Connection
from wa_contracts.envelope import Envelope
from wa_contracts.ids import SessionId
from wa_contracts.session_events import (
    DesiredState,
    Event,
    QRExpired,
    QRIssued,
    SessionBanned,
    SessionConnected,
    SessionConnecting,
    SessionCreated,
    SessionDeleted,
    SessionDisconnected,
    SessionFailed,
    SessionLoggedOut,
    SessionRestricted,
    SessionStarting,
    SessionStatus,
    SessionStopped,
    SessionUpdated,
)
from wa_contracts.topology import partition_of


@dataclass(slots=True)
class SessionRow:
    """One row. The fields are the columns, in this order."""

    session_id: UUID
    partition: int
    name: str | None
    phone_number: str | None
    status: str
    status_reason: str | None
    desired_state: str
    connected_at: datetime | None
    created_at: datetime
    last_error: str | None
    qr: str | None
    qr_expires_at: datetime | None
    queued: int
    options: str | None
    """The newest `session.updated`, as JSON."""
    restricted_until: datetime | None = None


def evolve(row: SessionRow | None, event: Envelope) -> SessionRow | None:
    """Return the row after an event, changed in place or new; None without a session."""
    data = event.data
    if type(data) is SessionCreated:
        return _created(event, data.name)
    if row is None or type(data) is SessionDeleted:
        return None
    if type(data) is SessionUpdated:
        row.name, row.options = data.name, data.model_dump_json()
    if type(data) in _STATES:
        _change_state(row, event)
        _change_particulars(row, event)
    return row


_RUNNING, _STOPPED = DesiredState.RUNNING, DesiredState.STOPPED
_STATES: Mapping[type[Event], tuple[SessionStatus, DesiredState]] = {
    SessionStarting: (SessionStatus.STARTING, _RUNNING),
    QRIssued: (SessionStatus.SCAN_QR, _RUNNING),
    QRExpired: (SessionStatus.SCAN_QR, _RUNNING),
    SessionConnecting: (SessionStatus.CONNECTING, _RUNNING),
    SessionConnected: (SessionStatus.WORKING, _RUNNING),
    SessionDisconnected: (SessionStatus.DISCONNECTED, _RUNNING),
    SessionRestricted: (SessionStatus.RESTRICTED, _RUNNING),
    SessionLoggedOut: (SessionStatus.LOGGED_OUT, _STOPPED),
    SessionBanned: (SessionStatus.BANNED, _STOPPED),
    SessionStopped: (SessionStatus.STOPPED, _STOPPED),
    SessionFailed: (SessionStatus.FAILED, _STOPPED),
}


def _change_state(row: SessionRow, event: Envelope) -> None:
    """Set the status of the event. Every state change clears the QR code and `connected_at`."""
    row.status, row.desired_state = _STATES[type(event.data)]
    row.status_reason = getattr(event.data, "reason", None)
    row.last_error = getattr(event.data, "message", None) or row.last_error
    row.qr = row.qr_expires_at = row.connected_at = row.restricted_until = None


def _change_particulars(row: SessionRow, event: Envelope) -> None:
    match event.data:
        case QRIssued(qr=qr, expires_at=expires_at):
            row.qr, row.qr_expires_at = qr, expires_at
        case SessionRestricted(until=until):
            row.restricted_until = until
        case SessionConnecting(phone_number=number):
            row.phone_number = number or row.phone_number
        case SessionConnected(phone_number=number, connected_at=connected_at):
            row.phone_number, row.connected_at, row.last_error = number, connected_at, None


def _created(event: Envelope, name: str | None) -> SessionRow:
    return SessionRow(
        session_id=event.session_id,
        partition=partition_of(SessionId(event.session_id)),
        name=name,
        phone_number=None,
        status=SessionStatus.STARTING,
        status_reason=None,
        desired_state=DesiredState.RUNNING,
        connected_at=None,
        created_at=event.occurred_at,
        last_error=None,
        qr=None,
        qr_expires_at=None,
        queued=0,
        options=None,
    )


async def load(connection: Connection, sessions: Collection[UUID]) -> dict[UUID, SessionRow]:
    rows = await connection.fetch(_LOAD, list(sessions))
    return {row["session_id"]: SessionRow(*row) for row in rows}


async def save(connection: Connection, rows: Collection[SessionRow]) -> None:
    await connection.execute(_SAVE, *zip(*map(_AS_TUPLE, rows), strict=True))


async def remove(connection: Connection, sessions: Collection[UUID]) -> None:
    """Delete sessions with their credentials, and have their messages deleted in batches."""
    for statement in _REMOVE:
        await connection.execute(statement, list(sessions))


_NAMES = [field.name for field in fields(SessionRow)]
_AS_TUPLE = attrgetter(*_NAMES)
_COLUMNS = ", ".join(_NAMES)
_LOAD = f"SELECT {_COLUMNS} FROM sessions WHERE session_id = ANY($1::uuid[])"
_SAVE = f"""
    INSERT INTO sessions ({_COLUMNS})
    SELECT * FROM unnest($1::uuid[], $2::smallint[], $3::text[], $4::text[], $5::text[],
        $6::text[], $7::text[], $8::timestamptz[], $9::timestamptz[], $10::text[], $11::text[],
        $12::timestamptz[], $13::integer[], $14::jsonb[], $15::timestamptz[])
    ON CONFLICT (session_id) DO UPDATE SET
        name = excluded.name, phone_number = excluded.phone_number, status = excluded.status,
        status_reason = excluded.status_reason, desired_state = excluded.desired_state,
        connected_at = excluded.connected_at, last_error = excluded.last_error, qr = excluded.qr,
        qr_expires_at = excluded.qr_expires_at, queued = excluded.queued,
        options = excluded.options, restricted_until = excluded.restricted_until
"""
_REMOVE = (
    "DELETE FROM sessions WHERE session_id = ANY($1::uuid[])",
    "DELETE FROM credentials WHERE session_id = ANY($1::uuid[])",
    """
        INSERT INTO removed_sessions (session_id) SELECT unnest($1::uuid[])
        ON CONFLICT DO NOTHING
    """,
)
