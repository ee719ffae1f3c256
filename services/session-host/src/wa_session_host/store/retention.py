"""Deletes what is not needed any more: old ended messages, superseded events, deleted sessions.

- A message's or a call's stream is deleted as a whole if it ended (or was received) and its last event
  is older than the retention.
- A session's stream keeps the newest event of each type: state and read tables are folded from
  those to the same result. Others are deleted after the retention.
- A deleted session keeps its last event, which says so. All else is deleted at once: events,
  numbers, ended messages.

Only relayed events are deleted, and none that has the highest sequence of its session: the next
sequence is derived from that event. So a session's stored sequences have gaps, but never at the
end.
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

FINISHED = (
    *ENDS,
    *(f"message.{one}" for one in ("received", "echoed", "reacted", "voted", "edited", "revoked")),
    *("call.received", "call.ended"),
)

REMOVE_SUPERSEDED = """
WITH held AS MATERIALIZED (
    SELECT relayed_position FROM partitions
    WHERE partition = $1 AND host = $2 AND fencing_token = $3 AND expires_at > clock_timestamp()
    FOR SHARE
), superseded AS (
    SELECT position FROM (
        SELECT position, occurred_at, lead(position) OVER (PARTITION BY stream, type
                                                           ORDER BY stream_version) AS newer
        FROM events WHERE partition = $1 AND stream LIKE 'session-%'
    ) AS of_sessions
    WHERE occurred_at < $4 AND newer <= (SELECT relayed_position FROM held) LIMIT $5
)
DELETE FROM events USING superseded WHERE events.position = superseded.position
RETURNING events.stream
"""

REMOVE_DELETED = """
WITH held AS MATERIALIZED (
    SELECT relayed_position FROM partitions
    WHERE partition = $1 AND host = $2 AND fencing_token = $3 AND expires_at > clock_timestamp()
    FOR SHARE
), forgotten AS (
    SELECT rest.position FROM events AS deleted CROSS JOIN LATERAL (
        SELECT position FROM events AS one
        WHERE one.session_id = deleted.session_id AND one.position <> deleted.position
          AND one.position <= (SELECT relayed_position FROM held)
          AND one.session_sequence IS DISTINCT FROM (
              SELECT max(newest.session_sequence) FROM events AS newest
              WHERE newest.session_id = deleted.session_id)
          AND NOT EXISTS (SELECT FROM open_messages WHERE open_messages.stream = one.stream)
          AND NOT EXISTS (SELECT FROM scheduled_messages AS waiting
                          WHERE waiting.stream = one.stream)
        LIMIT $4
    ) AS rest
    WHERE deleted.partition = $1 AND deleted.stream LIKE 'session-%'
      AND deleted.type = 'session.deleted'
    LIMIT $4
)
DELETE FROM events USING forgotten WHERE events.position = forgotten.position
RETURNING events.stream
"""


class StreamRetention:
    def __init__(self, pool: asyncpg.Pool, host: str, keep: timedelta) -> None:
        """`keep` is the retention, counted from a message's last event."""
        self._pool = pool
        self._host = host
        self.keep = keep

    async def remove(self, partition: int, token: FencingToken, now: datetime) -> int:
        """Delete what a held partition does not need any more, page by page.

        Returns the number of message streams that were deleted for their age.

        Raises:
            OSError, asyncpg.PostgresError, asyncpg.InterfaceError: the database is unavailable.
        """
        held = (partition, self._host, token)
        await self._remove_pages(REMOVE_DELETED, *held, PAGE)
        await self._remove_pages(REMOVE_SUPERSEDED, *held, now - self.keep, PAGE)
        return await self._remove_ended(partition, token, now - self.keep)

    async def _remove_pages(self, query: str, *arguments: object) -> None:
        while True:
            if not await self._pool.fetch(query, *arguments):
                return
            await asyncio.sleep(PAUSE_SECONDS)

    async def _remove_ended(self, partition: int, token: FencingToken, before: datetime) -> int:
        after, removed = 0, 0
        while page := await self._pool.fetch(OLDEST, partition, after, PAGE):
            streams = [
                row["stream"]
                for row in page
                if row["stream_version"] == 1
                and row["stream"].startswith(("message-", "call-"))
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
