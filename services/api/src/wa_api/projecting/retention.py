"""Deletes ended messages and feed events that are older than the retention."""

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import NoReturn

import asyncpg
import structlog

from wa_api.database.pool import Database, DatabaseUnavailable
from wa_api.projecting.writer import LOCK, SERVING_LOCK, SHADOW_LOCK
from wa_contracts.internal.replies import MessageStatus

log = structlog.get_logger()

EVERY_SECONDS = 600.0
BATCH = 500
PAUSE_SECONDS = 0.1
"""Pause between batches. Each batch blocks the projector while it runs."""

_ENDED = [str(status) for status in MessageStatus if status is not MessageStatus.QUEUED]


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
        """Delete every 10 minutes until cancelled."""
        while True:
            try:
                await self.forget()
            except (DatabaseUnavailable, asyncpg.PostgresError) as error:
                log.info("nothing_forgotten_yet", reason=type(error).__name__)
            await asyncio.sleep(EVERY_SECONDS)

    async def forget(self) -> int:
        """Delete all rows older than the retention; return how many.

        Raises:
            DatabaseUnavailable: Some rows may already be deleted.
        """
        forgotten = 0
        before = self._clock() - self._keep
        for statement in self._statements:
            while removed := await self._batch(statement, before):
                forgotten += removed
                await asyncio.sleep(PAUSE_SECONDS)
        if forgotten:
            log.info("rows_forgotten", number=forgotten, before=before.isoformat())
        return forgotten

    async def _batch(self, statement: str, before: datetime) -> int:
        values = (before, _ENDED, BATCH) if statement == _MESSAGES else (before, BATCH)
        async with self._database.transaction() as connection:
            await connection.execute(LOCK, self._lock)
            return len(await connection.fetch(statement, *values))


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
