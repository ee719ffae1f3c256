"""Deletes what is older than the retention, and the messages of deleted sessions."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import NoReturn

import asyncpg
import structlog

from wa_api.database.pool import Database, DatabaseUnavailable
from wa_api.projecting.writer import LOCK, SERVING_LOCK, SHADOW_LOCK
from wa_contracts.internal.replies import MessageStatus

log = structlog.get_logger()

EVERY_SECONDS = 600.0
REMOVE_EVERY_SECONDS = 5.0
"""Interval of the look for deleted sessions."""
BATCH = 500
PAUSE_SECONDS = 0.1
"""Pause between batches. Each batch blocks the projector while it runs."""

_OPEN = {MessageStatus.SCHEDULED, MessageStatus.QUEUED}
_ENDED = [str(status) for status in MessageStatus if status not in _OPEN]


class Retention:
    """Deletes rows in small batches, each under the writer's lock."""

    def __init__(
        self,
        database: Database,
        *,
        keep: timedelta,
        clock: Callable[[], datetime],
        shadow: bool = False,
    ) -> None:
        """`keep` is how long an ended message stays after its last event.

        A `shadow` has no feed.
        """
        self._database = database
        self._keep = keep
        self._clock = clock
        self._lock = SHADOW_LOCK if shadow else SERVING_LOCK
        self._statements = (_MESSAGES,) if shadow else (_MESSAGES, _FEED)

    async def run(self) -> NoReturn:
        """Delete until cancelled: deleted sessions' messages soon, old rows every 10 minutes."""
        async with asyncio.TaskGroup() as group:
            group.create_task(_repeat(self.remove_deleted, REMOVE_EVERY_SECONDS))
            await _repeat(self.forget, EVERY_SECONDS)
        raise AssertionError("unreachable")

    async def forget(self) -> int:
        """Delete all rows older than the retention; return how many.

        Raises:
            DatabaseUnavailable: Some rows may already be deleted.
        """
        forgotten = 0
        before = self._clock() - self._keep
        for statement in self._statements:
            values = (before, _ENDED, BATCH) if statement == _MESSAGES else (before, BATCH)
            forgotten += await self._in_batches(statement, *values)
        await self._in_batches(_HOURS, BATCH)
        await self._in_batches(_SKIPPED, before, BATCH)
        if forgotten:
            log.info("rows_forgotten", number=forgotten, before=before.isoformat())
        return forgotten

    async def remove_deleted(self) -> int:
        """Delete the messages of deleted sessions; return how many.

        A batch is as long as the projector can wait, however many messages the session has.

        Raises:
            DatabaseUnavailable: Some messages may already be deleted.
        """
        async with self._database.connection() as connection:
            sessions = [row["session_id"] for row in await connection.fetch(_REMOVED)]
        removed = 0
        for session_id in sessions:
            removed += await self._in_batches(_MESSAGES_OF, session_id, BATCH)
            await self._batch(_REMOVAL_DONE, session_id)
            log.info("session_removed", session_id=str(session_id))
        return removed

    async def _in_batches(self, statement: str, *values: object) -> int:
        total = 0
        while rows := await self._batch(statement, *values):
            total += rows
            await asyncio.sleep(PAUSE_SECONDS)
        return total

    async def _batch(self, statement: str, *values: object) -> int:
        async with self._database.transaction() as connection:
            await connection.execute(LOCK, self._lock)
            return len(await connection.fetch(statement, *values))


async def _repeat(delete: Callable[[], Awaitable[int]], seconds: float) -> NoReturn:
    while True:
        try:
            await delete()
        except (DatabaseUnavailable, asyncpg.PostgresError) as error:
            log.info("nothing_forgotten_yet", reason=type(error).__name__)
        await asyncio.sleep(seconds)


_MESSAGES = """
    DELETE FROM messages WHERE id IN (
        SELECT id FROM messages
        WHERE created_at < $1 AND changed_at < $1 AND status = ANY($2)
        ORDER BY created_at LIMIT $3)
    RETURNING id
"""
_FEED = """
    DELETE FROM feed WHERE position IN (SELECT position FROM feed ORDER BY position LIMIT $2)
        AND (event ->> 'occurredAt')::timestamptz < $1
    RETURNING position
"""
_HOURS = """
    DELETE FROM message_hours WHERE (session_id, starts_at) IN (
        SELECT session_id, starts_at FROM message_hours
        WHERE starts_at < now() - interval '2 days' ORDER BY starts_at LIMIT $1)
    RETURNING session_id
"""
_SKIPPED = """
    DELETE FROM skipped_events WHERE (session_id, sequence) IN (
        SELECT session_id, sequence FROM skipped_events
        WHERE skipped_at < $1 ORDER BY skipped_at LIMIT $2)
    RETURNING session_id
"""
_REMOVED = "SELECT session_id FROM removed_sessions ORDER BY removed_at"
_MESSAGES_OF = """
    DELETE FROM messages WHERE id IN (SELECT id FROM messages WHERE session_id = $1 LIMIT $2)
    RETURNING id
"""
# An event that came meanwhile may have made messages again: then the session stays for the next pass.
_REMOVAL_DONE = """
    WITH done AS (
        DELETE FROM removed_sessions AS removed
        WHERE session_id = $1
            AND NOT EXISTS (SELECT FROM messages m WHERE m.session_id = removed.session_id)
        RETURNING session_id),
    counts AS (DELETE FROM message_counts USING done
               WHERE message_counts.session_id = done.session_id),
    hours AS (DELETE FROM message_hours USING done
              WHERE message_hours.session_id = done.session_id)
    SELECT session_id FROM done
"""
