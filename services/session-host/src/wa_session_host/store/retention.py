"""Deletes the streams of messages that ended long ago.

A stream is deleted as a whole if the message ended (or was received), its last event is older than
the retention, all its events are relayed, and none has the highest sequence of its session: the
next sequence is derived from that event. Session streams stay. So a session's stored sequences have
gaps, but never at the end.
"""

import asyncio
from datetime import datetime, timedelta

import asyncpg
import structlog

from wa_session_host.store.event_store import ENDS
from wa_session_host.store.stored_event import FencingToken

log = structlog.get_logger()

PAGE = 500
PAUSE_SECONDS = 0.05

OLDEST = """
SELECT position, stream, stream_version, occurred_at FROM events
WHERE partition = $1 AND position > $2 ORDER BY position LIMIT $3
"""

REMOVE = """
WITH held AS MATERIALIZED (
    SELECT relayed_position FROM partitions
    WHERE partition = $1 AND host = $2 AND fencing_token = $3 AND expires_at > clock_timestamp()
    FOR SHARE
), finished AS (
    SELECT stream FROM events WHERE stream = ANY($4)
    GROUP BY stream
    HAVING max(occurred_at) < $5
       AND max(position) <= (SELECT relayed_position FROM held)
       AND max(stream_version) FILTER (WHERE type = ANY($6))
         > coalesce(max(stream_version) FILTER (WHERE type = 'message.queued'), 0)
       AND NOT bool_or(session_sequence = (SELECT max(newest.session_sequence) FROM events AS newest
                                           WHERE newest.session_id = events.session_id))
)
DELETE FROM events USING finished WHERE events.stream = finished.stream
RETURNING events.stream
"""

FINISHED = (*ENDS, "message.received")


class StreamRetention:
    def __init__(self, pool: asyncpg.Pool, host: str, keep: timedelta) -> None:
        """`keep` is the retention, counted from a message's last event."""
        self._pool = pool
        self._host = host
        self.keep = keep

    async def remove_finished(self, partition: int, token: FencingToken, now: datetime) -> int:
        """Delete old streams of a held partition, page by page; return their number.

        Raises:
            OSError, asyncpg.PostgresError, asyncpg.InterfaceError: the database is unavailable.
        """
        before, after, removed = now - self.keep, 0, 0
        while page := await self._pool.fetch(OLDEST, partition, after, PAGE):
            streams = [
                row["stream"]
                for row in page
                if row["stream_version"] == 1
                and row["stream"].startswith("message-")
                and row["occurred_at"] < before
            ]
            removed += await self._remove(partition, token, streams, before)
            after = page[-1]["position"]
            if page[-1]["occurred_at"] >= before:
                break  # all later positions are newer
            await asyncio.sleep(PAUSE_SECONDS)
        if removed:
            log.info("streams_removed", partition=partition, number=removed)
        return removed

    async def _remove(
        self, partition: int, token: FencingToken, streams: list[str], before: datetime
    ) -> int:
        if not streams:
            return 0
        rows = await self._pool.fetch(
            REMOVE, partition, self._host, token, streams, before, list(FINISHED)
        )
        return len({row["stream"] for row in rows})
