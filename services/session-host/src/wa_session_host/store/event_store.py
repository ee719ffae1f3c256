"""Reads of the event store in Postgres, by stream, session and partition. `group_commit` writes."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from operator import itemgetter
from uuid import UUID

import asyncpg

from wa_contracts.ids import CommandId, MessageId, SessionId
from wa_session_host.domain.message import Content
from wa_session_host.store.stored_event import FencingToken, StoredEvent

PAGE = 500
COLUMNS = """position, partition, session_id, session_sequence, stream, stream_version, id, type,
    version, occurred_at, correlation_id, causation_id, data::text AS data_json,
    private::text AS content_json, reply_to, traceparent"""
COLUMNS_WITHOUT_CONTENT = COLUMNS.replace(
    "private::text", "(private - '{text,mediaUrl,fileName}'::text[])::text"
)
COLUMNS_OF_PUBLIC_PART = COLUMNS.replace("private::text", "NULL::text")
CONTENT_BYTES = """(coalesce(octet_length(private ->> 'text'), 0)
    + coalesce(octet_length(private ->> 'mediaUrl'), 0)
    + coalesce(octet_length(private ->> 'fileName'), 0))"""

STREAM = f"SELECT {COLUMNS} FROM events WHERE stream = $1 ORDER BY stream_version"

HAS_EFFECT = "SELECT EXISTS (SELECT FROM events WHERE stream = $1 AND causation_id = $2)"

SESSIONS_OF_PARTITION = f"""
SELECT {COLUMNS} FROM events
WHERE partition = $1 AND stream LIKE 'session-%' AND position > $2 ORDER BY position LIMIT $3
"""

OPEN_MESSAGES = f"""
WITH page AS MATERIALIZED (
    SELECT stream, position AS queued_position FROM open_messages
    WHERE partition = $1 AND position > $2 ORDER BY position LIMIT $3
)
SELECT queued_position, {COLUMNS_WITHOUT_CONTENT}, {CONTENT_BYTES} AS content_bytes
FROM page JOIN events USING (stream)
ORDER BY queued_position, stream_version
"""

SCHEDULED = """
SELECT session_id, count(*) AS number, min(due_at) AS first FROM scheduled_messages
WHERE partition = $1 GROUP BY session_id
"""

DUE_MESSAGES = f"""
WITH page AS MATERIALIZED (
    SELECT stream, due_at, position AS scheduled_position FROM scheduled_messages
    WHERE partition = $1 AND due_at <= $2 AND ($3::uuid IS NULL OR session_id = $3)
    ORDER BY due_at, position LIMIT $4
)
SELECT {COLUMNS} FROM page JOIN events USING (stream)
ORDER BY due_at, scheduled_position, stream_version
"""

NEXT_DUE = "SELECT min(due_at) FROM scheduled_messages WHERE partition = $1 AND due_at > $2"

CONTENT = """
SELECT private::text FROM events WHERE stream = $1 AND type = 'message.queued'
ORDER BY stream_version DESC LIMIT 1
"""

ENDS = ("message.sent", "message.failed", "message.unknown", "message.cancelled")

EVENTS_AFTER = f"""
SELECT {COLUMNS_OF_PUBLIC_PART} FROM events
WHERE partition = $1 AND position > $2 ORDER BY position LIMIT $3
"""

EXTENT_AFTER = """
SELECT count(*) AS number, coalesce(max(position), $2) AS last FROM events
WHERE partition = $1 AND position > $2
"""

PUBLIC_EVENTS = f"""
SELECT {COLUMNS} FROM events
WHERE partition = $1 AND position > $2 AND session_sequence IS NOT NULL
ORDER BY position LIMIT $3
"""

PREDECESSOR = """
SELECT max(session_sequence) FROM events WHERE session_id = $1 AND session_sequence < $2
"""

OF_SESSION = f"""
SELECT {COLUMNS} FROM events
WHERE session_id = $1 AND session_sequence >= $2 ORDER BY session_sequence LIMIT $3
"""

UNKNOWN_OUTCOMES = f"""
SELECT {COLUMNS} FROM events
WHERE stream IN (SELECT stream FROM events WHERE session_id = $1 AND type = 'message.unknown')
ORDER BY position
"""

STREAM_OF_WHATSAPP_ID = """
SELECT stream FROM events
WHERE session_id = $1 AND type = 'message.sent' AND data ->> 'messageId' = $2
"""

KNOWN_CHATS = """
SELECT data ->> 'to' AS chat FROM events WHERE session_id = $1 AND type = 'message.sent'
UNION
SELECT unnest(ARRAY[data ->> 'chat', data ->> 'senderNumber']) FROM events
WHERE session_id = $1 AND type IN ('message.received', 'message.echoed')
  AND NOT coalesce((data ->> 'isGroup')::boolean, false)
LIMIT 50000
"""

SAVE_CHECKPOINTS = """
WITH mine AS MATERIALIZED (
    SELECT m.* FROM partitions p
    JOIN unnest($2::smallint[], $3::bigint[], $4::bigint[], $5::bigint[])
         AS m (partition, token, relayed, open) ON p.partition = m.partition
    WHERE p.host = $1 AND p.fencing_token = m.token
    ORDER BY p.partition FOR NO KEY UPDATE OF p
)
UPDATE partitions p
SET relayed_position = greatest(p.relayed_position, mine.relayed),
    open_position = greatest(p.open_position, mine.open)
FROM mine WHERE p.partition = mine.partition
"""


@dataclass(frozen=True)
class RelayCheckpoint:
    """Relay checkpoint, and the lowest position at which an unfinished message may start."""

    partition: int
    token: FencingToken
    relayed: int
    open: int


def _stored(row: asyncpg.Record) -> StoredEvent:
    return StoredEvent(*(row[name] for name in StoredEvent._fields))


SENT_TODAY = """
SELECT session_id, count(*) FILTER (WHERE occurred_at >= $2) AS today, max(occurred_at) AS last_at
FROM events
WHERE partition = $1 AND type IN ('message.sent', 'message.unknown')
  AND occurred_at >= $2::timestamptz - interval '1 hour'
GROUP BY session_id
"""


class EventStore:
    """Reads, and the checkpoints of held partitions."""

    def __init__(self, pool: asyncpg.Pool, host: str) -> None:
        """`host` is this host's name in the leases. The caller closes `pool`."""
        self._pool = pool
        self._host = host

    async def stream(self, name: str) -> list[StoredEvent]:
        """A stream's events in order; empty for an unknown stream."""
        return [_stored(row) for row in await self._pool.fetch(STREAM, name)]

    async def has_effect(self, stream: str, command_id: CommandId) -> bool:
        """Whether a command caused an event of this stream."""
        return bool(await self._pool.fetchval(HAS_EFFECT, stream, command_id))

    async def session_streams(self, partition: int, page: int = PAGE) -> AsyncIterator[StoredEvent]:
        """All session streams of a partition, in the order of storing, read in pages."""
        after = 0
        while rows := await self._pool.fetch(SESSIONS_OF_PARTITION, partition, after, page):
            for row in rows:
                yield _stored(row)
            after = rows[-1]["position"]

    async def open_messages(
        self, partition: int, page: int = PAGE
    ) -> AsyncIterator[tuple[list[StoredEvent], int]]:
        """Streams of unfinished messages, in the order of queueing, read in pages.

        Each comes with the size of its content in bytes, and without text and addresses. A stream
        may have ended: its events tell.
        """
        after = 0
        while rows := await self._pool.fetch(OPEN_MESSAGES, partition, after, page):
            for _, stream in groupby(rows, itemgetter("stream")):
                events = list(stream)
                yield [_stored(row) for row in events], max(row["content_bytes"] for row in events)
            after = rows[-1]["queued_position"]

    async def scheduled(self, partition: int) -> tuple[dict[SessionId, int], datetime | None]:
        """Number of scheduled messages by session, and when the first one is due."""
        rows = await self._pool.fetch(SCHEDULED, partition)
        numbers = {SessionId(row["session_id"]): row["number"] for row in rows}
        return numbers, min((row["first"] for row in rows), default=None)

    async def due_messages(
        self, partition: int, at: datetime, limit: int, session_id: SessionId | None = None
    ) -> list[list[StoredEvent]]:
        """Streams of scheduled messages that are due at that time, in the order of their times."""
        rows = await self._pool.fetch(DUE_MESSAGES, partition, at, session_id, limit)
        return [
            [_stored(row) for row in stream] for _, stream in groupby(rows, itemgetter("stream"))
        ]

    async def next_due(self, partition: int, after: datetime) -> datetime | None:
        """When the next scheduled message is due after that time."""
        found: datetime | None = await self._pool.fetchval(NEXT_DUE, partition, after)
        return found

    async def content(self, stream: str) -> Content:
        """The content of a queued message."""
        return Content.model_validate_json(await self._pool.fetchval(CONTENT, stream))

    async def events_after(self, partition: int, after: int, limit: int) -> list[StoredEvent]:
        """All events of a partition after a position, in order, without content."""
        return [
            _stored(row) for row in await self._pool.fetch(EVENTS_AFTER, partition, after, limit)
        ]

    async def extent_after(self, partition: int, after: int) -> tuple[int, int]:
        """Number of a partition's events after a position, and the last one's position."""
        [row] = await self._pool.fetch(EXTENT_AFTER, partition, after)
        return row["number"], row["last"]

    async def public_events(self, partition: int, after: int, limit: int) -> list[StoredEvent]:
        """Public events of a partition after a position, in order."""
        return [
            _stored(row) for row in await self._pool.fetch(PUBLIC_EVENTS, partition, after, limit)
        ]

    async def of_session(
        self, session_id: SessionId, from_sequence: int, page: int = 500
    ) -> AsyncIterator[StoredEvent]:
        """Public events of a session from a sequence on, read in pages."""
        while rows := await self._pool.fetch(OF_SESSION, session_id, from_sequence, page):
            for row in rows:
                yield _stored(row)
            from_sequence = rows[-1]["session_sequence"] + 1

    async def predecessor(self, session_id: SessionId, sequence: int) -> int:
        """Sequence of the session's last public event before `sequence`; 0 without one."""
        return await self._pool.fetchval(PREDECESSOR, session_id, sequence) or 0

    async def of_partition(self, partition: int, page: int = 500) -> AsyncIterator[StoredEvent]:
        """Public events of a partition in the order of storing, read in pages.

        Each session's events are in the order of their sequence (docs/adr/0001).
        """
        after = 0
        while events := await self.public_events(partition, after, page):
            for stored in events:
                yield stored
            after = events[-1].position

    async def unknown_outcomes(self, session_id: SessionId) -> list[StoredEvent]:
        """Streams of a session's messages that ever ended as unknown, in the order of storing."""
        return [_stored(row) for row in await self._pool.fetch(UNKNOWN_OUTCOMES, session_id)]

    async def sent_since(
        self, partition: int, day: datetime
    ) -> dict[SessionId, tuple[int, datetime]]:
        """Number of possible sends since the day's begin and time of the last one, by session."""
        rows = await self._pool.fetch(SENT_TODAY, partition, day)
        return {SessionId(row["session_id"]): (row["today"], row["last_at"]) for row in rows}

    async def message_of(self, session_id: SessionId, whatsapp_id: str) -> MessageId | None:
        """Our id of the message with this WhatsApp id."""
        stream = await self._pool.fetchval(STREAM_OF_WHATSAPP_ID, session_id, whatsapp_id)
        return MessageId(UUID(stream.removeprefix("message-"))) if stream else None

    async def known_chats(self, session_id: SessionId) -> set[str]:
        """Numbers and JIDs of people with whom the session exchanged messages, 50,000 at most.

        Reads all of the session's stored messages.
        """
        rows = await self._pool.fetch(KNOWN_CHATS, session_id)
        return {row["chat"] for row in rows if row["chat"]}

    async def save_checkpoints(self, checkpoints: Sequence[RelayCheckpoint]) -> None:
        """Save relay checkpoints; those of lost partitions are ignored."""
        await self._pool.execute(
            SAVE_CHECKPOINTS,
            self._host,
            [m.partition for m in checkpoints],
            [m.token for m in checkpoints],
            [m.relayed for m in checkpoints],
            [m.open for m in checkpoints],
        )
