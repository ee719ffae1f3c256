"""Queries of the dashboard: a searched page of sessions, counts, a session's history."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import asyncpg
from pydantic_core import from_json

from wa_api.database.pool import Connection, Database
from wa_api.owners.liveness import HostLiveness
from wa_api.sessions.views import HOST_SILENT, SHOWN_SESSIONS, Session
from wa_contracts.internal.heartbeat import HostEngine
from wa_contracts.internal.replies import MessageStatus
from wa_contracts.session_events import SessionStatus

PAGE_SIZE = 25
HISTORY_LENGTH = 30
ACKS_MEASURED = 100
"""Newest messages of an hour whose time to WhatsApp's ack is measured."""


@dataclass(frozen=True)
class SessionsWanted:
    """Search and page of the table. `search` matches name, number and id; `page` starts at 1."""

    search: str = ""
    status: SessionStatus | None = None
    page: int = 1


@dataclass(frozen=True)
class Span:
    """When a lost connection was lost."""

    lost_at: datetime


@dataclass(frozen=True)
class SessionsPage:
    """A page of the table, the number of matching rows, and all sessions by status.

    `spans` covers disconnected sessions.
    """

    sessions: Sequence[Session]
    wanted: SessionsWanted
    fitting: int
    counts: Mapping[SessionStatus, int]
    spans: Mapping[UUID, Span]

    @property
    def total(self) -> int:
        return sum(self.counts.values())

    @property
    def pages(self) -> int:
        """Number of pages; at least 1."""
        return max(1, -(-self.fitting // PAGE_SIZE))

    @property
    def first(self) -> int:
        """Number of the page's first row, from 1."""
        return (self.wanted.page - 1) * PAGE_SIZE + 1

    @property
    def last(self) -> int:
        """Number of the page's last row."""
        return self.first + len(self.sessions) - 1


@dataclass(frozen=True)
class Outdated:
    """Number of the sessions whose client version WhatsApp refuses; `refusal` names the version."""

    sessions: int
    refusal: str


@dataclass(frozen=True)
class PastEvent:
    type: str
    occurred_at: datetime
    data: Mapping[str, Any]


@dataclass(frozen=True)
class Hour:
    """Messages of one hour by result, and the median time to WhatsApp's ack of its newest ones."""

    starts_at: datetime
    sent: int
    failed: int
    seconds_to_ack: float | None


class DashboardReadings:
    """Queries of the dashboard. Methods raise DatabaseUnavailable."""

    def __init__(self, database: Database, liveness: HostLiveness) -> None:
        self._database = database
        self._liveness = liveness

    async def sessions(self, wanted: SessionsWanted) -> SessionsPage:
        """The requested page, or the last one if there are fewer. Newest first."""
        live = self._liveness.live_partitions()
        search = wanted.search.strip().lower()
        async with self._database.connection() as connection:
            counted = await connection.fetch(_COUNTS, live)
            fitting = await connection.fetchval(_FITTING, live, wanted.status, search)
            last = max(1, -(-fitting // PAGE_SIZE))
            page = min(max(1, wanted.page), last)
            rows = await connection.fetch(
                _PAGE, live, wanted.status, search, PAGE_SIZE, (page - 1) * PAGE_SIZE
            )
            sessions = [Session.model_validate(dict(row)) for row in rows]
            spans = await _spans(connection, sessions)
        return SessionsPage(
            sessions=sessions,
            wanted=SessionsWanted(wanted.search, wanted.status, page),
            fitting=fitting,
            counts={SessionStatus(row["status"]): row["count"] for row in counted},
            spans=spans,
        )

    async def span(self, session: Session) -> Span | None:
        """The span of a disconnected session, if known."""
        async with self._database.connection() as connection:
            return (await _spans(connection, [session])).get(session.session_id)

    async def messages_a_minute(self) -> int:
        """Number of messages acknowledged by WhatsApp during the last minute."""
        async with self._database.connection() as connection:
            return await connection.fetchval(_LAST_MINUTE) or 0

    async def sessions_by_host(self) -> Mapping[str, int]:
        """Number of sessions per live host."""
        hosts = self._liveness.hosts()
        async with self._database.connection() as connection:
            rows = await connection.fetch(_BY_PARTITION)
        by_partition = {row["partition"]: row["count"] for row in rows}
        return {
            host: sum(by_partition.get(partition, 0) for partition in partitions)
            for host, partitions in sorted(hosts.items())
        }

    def engines(self) -> Sequence[HostEngine]:
        """The different engines of live hosts."""
        return sorted(self._liveness.engines(), key=lambda one: (one.engine, one.client_version))

    async def outdated(self) -> Outdated | None:
        """The sessions that wait for another client version; None if there are none."""
        async with self._database.connection() as connection:
            row = await connection.fetchrow(_OUTDATED)
        return Outdated(row["sessions"], row["refusal"]) if row and row["sessions"] else None

    async def history(self, session_id: UUID) -> Sequence[PastEvent]:
        """A session's own events, newest first."""
        async with self._database.connection() as connection:
            rows = await connection.fetch(_HISTORY, session_id, HISTORY_LENGTH)
        return [_past(row) for row in rows]

    async def message_counts(self, session_id: UUID) -> Mapping[MessageStatus, int]:
        """Number of a session's outgoing messages by status."""
        async with self._database.connection() as connection:
            rows = await connection.fetch(_MESSAGE_COUNTS, session_id)
        return {MessageStatus(row["status"]): row["count"] for row in rows}

    async def last_day(self, session_id: UUID) -> Sequence[Hour]:
        """The last 24 hours of a session, oldest first, including empty hours."""
        async with self._database.connection() as connection:
            rows = await connection.fetch(_LAST_DAY, session_id)
        return [
            Hour(row["starts_at"], row["sent"], row["failed"], row["seconds_to_ack"])
            for row in rows
        ]


async def _spans(connection: Connection, sessions: Sequence[Session]) -> Mapping[UUID, Span]:
    """A session with a silent host has no span: no event says when it fell silent."""
    lost = [
        session.session_id
        for session in sessions
        if session.status is SessionStatus.DISCONNECTED and session.status_reason != HOST_SILENT
    ]
    found: dict[UUID, Span] = {}
    for row in await connection.fetch(_LOST_AT, lost) if lost else ():
        found[row["session_id"]] = Span(lost_at=datetime.fromisoformat(row["lost_at"]))
    return found


def _past(row: asyncpg.Record) -> PastEvent:
    envelope = from_json(row["event"])
    occurred_at = datetime.fromisoformat(envelope["occurredAt"])
    return PastEvent(row["type"], occurred_at, envelope["data"])


_OUTDATED = """
    SELECT count(*) AS sessions, max(last_error) AS refusal FROM sessions
    WHERE status = 'disconnected' AND status_reason = 'client_outdated'
"""
_FITS = """
    ($2::text IS NULL OR status = $2)
    AND ($3 = '' OR strpos(lower(coalesce(name, '')), $3) > 0
         OR strpos(coalesce(phone_number, ''), ltrim(replace($3, ' ', ''), '+')) > 0
         OR strpos(session_id::text, $3) > 0)
"""
_COUNTS = f"SELECT status, count(*) FROM ({SHOWN_SESSIONS}) AS shown GROUP BY status"
_FITTING = f"SELECT count(*) FROM ({SHOWN_SESSIONS}) AS shown WHERE {_FITS}"
_PAGE = f"""
    SELECT * FROM ({SHOWN_SESSIONS}) AS shown WHERE {_FITS}
    ORDER BY created_at DESC, session_id DESC LIMIT $4 OFFSET $5
"""
_LAST_MINUTE = """
    SELECT sum(number)::bigint FROM sent_seconds WHERE second > now() - interval '1 minute'
"""
# The first loss of an uninterrupted series counts.
_LOST_AT = """
    SELECT lost.session_id, first.event ->> 'occurredAt' AS lost_at
    FROM unnest($1::uuid[]) AS lost (session_id)
    CROSS JOIN LATERAL (
        SELECT coalesce(max(position), 0) AS position FROM feed
        WHERE session_id = lost.session_id
            AND type LIKE 'session.%' AND type <> 'session.disconnected') AS before
    CROSS JOIN LATERAL (
        SELECT event FROM feed
        WHERE session_id = lost.session_id AND type = 'session.disconnected'
            AND position > before.position ORDER BY position LIMIT 1) AS first
"""
_BY_PARTITION = "SELECT partition, count(*) FROM sessions GROUP BY partition"
_HISTORY = """
    SELECT type, event::text AS event FROM feed
    WHERE session_id = $1 AND type LIKE 'session.%' ORDER BY position DESC LIMIT $2
"""
_MESSAGE_COUNTS = """
    SELECT status, number AS count FROM message_counts WHERE session_id = $1 AND number > 0
"""
_LAST_DAY = f"""
    SELECT hours.starts_at, coalesce(h.sent, 0) AS sent, coalesce(h.failed, 0) AS failed,
           acks.seconds AS seconds_to_ack
    FROM generate_series(date_trunc('hour', now(), 'UTC') - interval '23 hours',
                         date_trunc('hour', now(), 'UTC'), interval '1 hour') AS hours (starts_at)
    LEFT JOIN message_hours h ON h.session_id = $1 AND h.starts_at = hours.starts_at
    CROSS JOIN LATERAL (
        SELECT percentile_cont(0.5) WITHIN GROUP (
            ORDER BY extract(epoch FROM newest.sent_at - newest.created_at)) AS seconds
        FROM (SELECT sent_at, created_at FROM messages
              WHERE session_id = $1 AND direction = 'outgoing' AND sent_at IS NOT NULL
                AND created_at >= hours.starts_at
                AND created_at < hours.starts_at + interval '1 hour'
              ORDER BY created_at DESC LIMIT {ACKS_MEASURED}) AS newest) AS acks
    ORDER BY hours.starts_at
"""
