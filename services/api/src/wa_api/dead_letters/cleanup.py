"""Deletes dead letters that are old or too many, in small batches."""

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import NoReturn

import asyncpg
import structlog

from wa_api.database.pool import Database, DatabaseUnavailable

log = structlog.get_logger()

EVERY_SECONDS = 60.0
BATCH = 500
PAUSE_SECONDS = 0.1
KEPT_LETTERS = 10_000
KEPT_BYTES = 256 * 1024 * 1024
"""Limits of the table. Above them the oldest dead letters are deleted."""


class DeadLetterCleanup:
    """Bounds the dead letters table in time, number and bytes."""

    def __init__(
        self,
        database: Database,
        *,
        keep: timedelta,
        clock: Callable[[], datetime],
        kept_letters: int = KEPT_LETTERS,
        kept_bytes: int = KEPT_BYTES,
    ) -> None:
        """`keep` is how long a dead letter stays."""
        self._database = database
        self._keep = keep
        self._clock = clock
        self._limits = (kept_letters, kept_bytes)

    async def run(self) -> NoReturn:
        """Clean up every 60 s until cancelled."""
        while True:
            try:
                await self.clean_up()
            except (DatabaseUnavailable, asyncpg.PostgresError) as error:
                log.info("dead_letters_not_deleted", reason=type(error).__name__)
            await asyncio.sleep(EVERY_SECONDS)

    async def clean_up(self) -> None:
        """Run one pass.

        Raises:
            DatabaseUnavailable: Some dead letters may already be deleted.
        """
        if expired := await self._delete(_EXPIRED, self._clock() - self._keep):
            log.info("dead_letters_expired", number=expired)
        if excess := await self._delete(_EXCESS, *self._limits):
            log.error("dead_letters_dropped", number=excess, reason="too many: see their causes")

    async def _delete(self, statement: str, *values: object) -> int:
        deleted = 0
        while True:
            async with self._database.connection() as connection:
                batch = len(await connection.fetch(statement, *values, BATCH))
            deleted += batch
            if batch < BATCH:
                return deleted
            await asyncio.sleep(PAUSE_SECONDS)


_EXPIRED = """
    DELETE FROM dead_letters WHERE id IN (
        SELECT id FROM dead_letters WHERE died_at < $1 ORDER BY died_at, id LIMIT $2)
    RETURNING id
"""
_EXCESS = """
    DELETE FROM dead_letters WHERE id IN (
        SELECT id FROM (
            SELECT id, row_number() OVER newest AS number,
                   sum(octet_length(body)) OVER newest AS bytes
            FROM dead_letters WINDOW newest AS (ORDER BY died_at DESC, id DESC)
        ) AS letters
        WHERE number > $1 OR bytes > $2 ORDER BY number DESC LIMIT $3)
    RETURNING id
"""
