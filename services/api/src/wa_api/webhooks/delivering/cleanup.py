"""Deletes removed endpoints and expired deliveries in small batches."""

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import NoReturn

import asyncpg
import structlog

from wa_api.database.pool import Database, DatabaseUnavailable
from wa_api.webhooks.delivering.leadership import CHANGED_CHANNEL
from wa_api.webhooks.delivering.retry_rule import GivenUpReason

log = structlog.get_logger()

EVERY_SECONDS = 60.0
BATCH = 500
PAUSE_SECONDS = 0.1


class Cleanup:
    def __init__(
        self, database: Database, *, keep: timedelta, clock: Callable[[], datetime]
    ) -> None:
        """`keep` is how long ended deliveries and ended endpoints stay visible."""
        self._database = database
        self._keep = keep
        self._clock = clock

    async def run(self) -> NoReturn:
        """Clean up every 60 s until cancelled."""
        while True:
            try:
                await self.clean_up()
            except (DatabaseUnavailable, asyncpg.PostgresError) as error:
                log.info("webhooks_not_tidied", reason=type(error).__name__)
            await asyncio.sleep(EVERY_SECONDS)

    async def clean_up(self) -> None:
        """Run one pass.

        Raises:
            DatabaseUnavailable: Some batches may already be committed.
        """
        before = self._clock() - self._keep
        await self._batches(_EXPIRE, GivenUpReason.EXPIRED)
        await self._batches(_END, before)
        async with self._database.connection() as connection:
            endpoints = await connection.fetch("SELECT id, deleted_at FROM webhook_endpoints")
        for endpoint in endpoints:
            if endpoint["deleted_at"] is None:
                await self._batches(_FORGET, before, endpoint["id"])
            else:
                await self._batches(_REMOVE_DELIVERIES, endpoint["id"])
        await self._batches(_REMOVE)

    async def _batches(self, statement: str, *values: object) -> None:
        full = True
        while full:
            async with self._database.connection() as connection:
                full = len(await connection.fetch(statement, *values)) == BATCH
            if full:
                await asyncio.sleep(PAUSE_SECONDS)


_LIMITED = f"LIMIT {BATCH}"
_EXPIRE = f"""
    UPDATE webhook_deliveries SET status = 'given_up', reason = $1, next_try_at = NULL,
        ended_at = now()
    WHERE id IN (
        SELECT id FROM webhook_deliveries
        WHERE status = 'waiting' AND position < (SELECT min(position) FROM feed) {_LIMITED})
    RETURNING id
"""
_END = f"""
    UPDATE webhook_endpoints SET deleted_at = now()
    WHERE id IN (
        SELECT id FROM webhook_endpoints
        WHERE session_deleted_at < $1 AND deleted_at IS NULL {_LIMITED})
    RETURNING pg_notify('{CHANGED_CHANNEL}', id::text)
"""
_FORGET = f"""
    DELETE FROM webhook_deliveries WHERE id IN (
        SELECT id FROM webhook_deliveries
        WHERE endpoint_id = $2 AND created_at < $1 AND status <> 'waiting' AND ended_at < $1
        ORDER BY created_at {_LIMITED})
    RETURNING id
"""
_REMOVE_DELIVERIES = f"""
    DELETE FROM webhook_deliveries WHERE id IN (
        SELECT id FROM webhook_deliveries WHERE endpoint_id = $1 {_LIMITED})
    RETURNING id
"""
_REMOVE = f"""
    DELETE FROM webhook_endpoints WHERE id IN (
        SELECT id FROM webhook_endpoints e WHERE deleted_at < now() - interval '1 minute'
            AND NOT EXISTS (SELECT FROM webhook_deliveries WHERE endpoint_id = e.id) {_LIMITED})
    RETURNING id
"""
