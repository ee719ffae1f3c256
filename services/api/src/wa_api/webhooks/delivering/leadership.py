"""Leader election among delivering processes, by an advisory lock in the database.

The leader's connection also listens for changes. If the connection drops, leadership ends. The next
leader reloads all state.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

import asyncpg
import structlog

from wa_api.database.notifications import CHANNEL as FEED_CHANNEL
from wa_api.database.pool import Connection
from wa_runtime.postgres import DATABASE_ERRORS

log = structlog.get_logger()

CHANGED_CHANNEL = "wa_api_webhooks"
"""Payload: the id of an endpoint that was changed, or that has a test or redelivery."""

LOOK_SECONDS = 1.0
"""Pause between attempts of a standby, and between checks of the leader's connection."""
ANSWER_SECONDS = 5.0
_LOCK = 0x77615F77656268  # "wa_webh"
_KEEPALIVE = {
    # A crashed machine's lock is released after 11 s.
    "tcp_keepalives_idle": "5",
    "tcp_keepalives_interval": "2",
    "tcp_keepalives_count": "3",
}


class LeadershipLost(Exception):
    """The connection that held the lock is gone. Another process may deliver."""


class Leadership:
    """The leader's notifications. `feed` is set on new events; `changed` holds endpoint ids."""

    def __init__(self) -> None:
        self.feed = asyncio.Event()
        self.changed: asyncio.Queue[UUID] = asyncio.Queue()

    def on_notification(self, _connection: object, _pid: int, channel: str, payload: Any) -> None:
        if channel == FEED_CHANNEL:
            self.feed.set()
        else:
            self.changed.put_nowait(UUID(payload))


@asynccontextmanager
async def leading(url: str) -> AsyncIterator[Leadership]:
    """Wait for leadership and hold it during the block.

    Raises:
        LeadershipLost: In the block, in an exception group: the connection is gone.
        One of DATABASE_ERRORS: The database is away.
    """
    connection = await asyncpg.connect(
        url, timeout=ANSWER_SECONDS, command_timeout=ANSWER_SECONDS, server_settings=_KEEPALIVE
    )
    try:
        await _wait_for_lock(connection)
        leadership = Leadership()
        for channel in (FEED_CHANNEL, CHANGED_CHANNEL):
            await connection.add_listener(channel, leadership.on_notification)
        async with asyncio.TaskGroup() as group:
            watching = group.create_task(_watch(connection))
            yield leadership
            watching.cancel()
    finally:
        connection.terminate()


async def notify_changed(connection: Connection, endpoint_id: UUID) -> None:
    """Notify the leader when the caller's transaction commits."""
    await connection.execute("SELECT pg_notify($1, $2)", CHANGED_CHANNEL, str(endpoint_id))


async def _wait_for_lock(connection: "asyncpg.Connection[asyncpg.Record]") -> None:
    is_logged = False
    while True:
        if await connection.fetchval("SELECT pg_try_advisory_lock($1)", _LOCK):
            return
        if not is_logged:
            log.info("webhooks_standing_by")
        is_logged = True
        await asyncio.sleep(LOOK_SECONDS)


async def _watch(connection: "asyncpg.Connection[asyncpg.Record]") -> None:
    try:
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            await connection.fetchval("SELECT 1")
    except DATABASE_ERRORS as error:
        raise LeadershipLost(type(error).__name__) from error
