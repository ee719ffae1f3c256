"""Media of incoming messages that sessions keep: what is still to be fetched, and what is stored."""

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import asyncpg

from wa_contracts.ids import MessageId, SessionId
from wa_session_host.domain.observations import ReceivedMedia

WANT = """
INSERT INTO incoming_media (message_id, session_id, partition, media, size, expires_at)
VALUES ($1, $2, $3, $4, $5, now() + $6) ON CONFLICT DO NOTHING
"""
NEXT = """
SELECT message_id, session_id, media, tries, created_at < now() - $2::interval AS is_late,
       expires_at, greatest(extract(epoch FROM next_try_at - now()), 0)::float8 AS due_in
FROM incoming_media WHERE partition = $1 AND status = 'wanted'
ORDER BY next_try_at LIMIT $3
"""
USED = """
SELECT coalesce(sum(size), 0)::bigint FROM incoming_media
WHERE session_id = $1 AND status = 'kept'
"""
KEPT = "UPDATE incoming_media SET status = 'kept', size = $2 WHERE message_id = $1"
FAILED = "UPDATE incoming_media SET status = 'failed', size = 0 WHERE message_id = $1"
POSTPONE = """
UPDATE incoming_media SET tries = tries + $3, next_try_at = now() + $2 WHERE message_id = $1
"""
# Whether a session is deleted says the store: a host that has lost the partition knows too little.
ENDED = """
WITH deleted AS (
    SELECT session_id
    FROM (SELECT DISTINCT session_id FROM incoming_media WHERE partition = $1) AS keeping
    WHERE coalesce((
        SELECT type FROM events WHERE stream = 'session-' || session_id::text
        ORDER BY stream_version DESC LIMIT 1), 'session.deleted') = 'session.deleted')
SELECT message_id, session_id FROM incoming_media
WHERE partition = $1 AND (expires_at < now() OR session_id IN (SELECT session_id FROM deleted))
LIMIT $2
"""
FORGET = "DELETE FROM incoming_media WHERE message_id = $1"


@dataclass(frozen=True)
class WantedMedia:
    """Media to fetch, in `due_in` seconds. `is_late`: it has been tried for long enough."""

    message_id: MessageId
    session_id: SessionId
    media: ReceivedMedia
    tries: int
    is_late: bool
    expires_at: datetime
    due_in: float


class IncomingMedia:
    """The table of incoming media. Methods raise DATABASE_ERRORS."""

    def __init__(self, pool: "asyncpg.Pool[asyncpg.Record]", *, keep: timedelta) -> None:
        """`keep` is how long media is kept from its arrival on."""
        self._pool = pool
        self._keep = keep
        self.wanted: defaultdict[int, asyncio.Event] = defaultdict(asyncio.Event)
        """By partition: media arrived."""

    async def want(
        self, partition: int, session_id: SessionId, message_id: MessageId, media: ReceivedMedia
    ) -> None:
        """Have media fetched and kept. Without effect for a message that is known."""
        content = media.model_dump_json()
        await self._pool.execute(
            WANT, message_id, session_id, partition, content, media.size, self._keep
        )
        self.wanted[partition].set()

    async def next(self, partition: int, late: timedelta, limit: int) -> Sequence[WantedMedia]:
        """What is to be fetched, in that order. After `late` it is late."""
        rows = await self._pool.fetch(NEXT, partition, late, limit)
        return [
            WantedMedia(
                MessageId(row["message_id"]),
                SessionId(row["session_id"]),
                ReceivedMedia.model_validate_json(row["media"]),
                tries=row["tries"],
                is_late=row["is_late"],
                expires_at=row["expires_at"],
                due_in=row["due_in"],
            )
            for row in rows
        ]

    async def bytes_of(self, session_id: SessionId) -> int:
        """Size of a session's kept media."""
        used: int = await self._pool.fetchval(USED, session_id)
        return used

    async def kept(self, message_id: MessageId, size: int) -> None:
        await self._pool.execute(KEPT, message_id, size)

    async def failed(self, message_id: MessageId) -> None:
        """It will not be kept."""
        await self._pool.execute(FAILED, message_id)

    async def postpone(self, message_id: MessageId, pause: timedelta, *, tries: int) -> None:
        """Try it again after a pause; count so many tries."""
        await self._pool.execute(POSTPONE, message_id, pause, tries)

    async def ended(self, partition: int, limit: int) -> Sequence[tuple[SessionId, MessageId]]:
        """Expired media, and that of deleted sessions."""
        rows = await self._pool.fetch(ENDED, partition, limit)
        return [(SessionId(row["session_id"]), MessageId(row["message_id"])) for row in rows]

    async def forget(self, message_id: MessageId) -> None:
        """The file is deleted."""
        await self._pool.execute(FORGET, message_id)
