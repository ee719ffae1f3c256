"""Which of the delivering processes delivers: the one that holds a lock in the database.

Its connection also hears that the feed or an endpoint changed: what is not heard any more, is not
led any more, and whoever leads next reads everything anew.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

import asyncpg
import structlog

from wa_api.database.notifications import CHANNEL as FEED_CHANNEL
from wa_api.database.pool import AWAY, Connection

log = structlog.get_logger()

CHANGED_CHANNEL = "wa_api_webhooks"
"""Notified with an endpoint's id when it was changed, or has deliveries that are not of the feed."""

LOOK_SECONDS = 1.0
"""How often a process that stands by tries, and the leader looks whether it still leads."""
ANSWER_SECONDS = 5.0
_LOCK = 0x77615F77656268  # "wa_webh"
_KEEPALIVE = {
    # A leader that vanished with its machine holds the lock until the server notices: 11 s.
    "tcp_keepalives_idle": "5",
    "tcp_keepalives_interval": "2",
    "tcp_keepalives_count": "3",
}


class LeadershipLost(Exception):
    """The connection that held the lock is gone: somebody else may deliver."""


class Leadership:
    """What the leader hears. `feed` is set when there may be events; `changed` are endpoints."""

    def __init__(self) -> None:
        self.feed = asyncio.Event()
        self.changed: asyncio.Queue[UUID] = asyncio.Queue()

    def hear(self, _connection: object, _pid: int, channel: str, payload: Any) -> None:
        """For asyncpg."""
        if channel == FEED_CHANNEL:
            self.feed.set()
        else:
            self.changed.put_nowait(UUID(payload))


@asynccontextmanager
async def leading(url: str) -> AsyncIterator[Leadership]:
    """Wait until nobody else leads, then lead during the block. It raises LeadLost when that ends.

    Raises:
        One of AWAY, asyncpg.PostgresError: the database is away.
    """
    connection = await asyncpg.connect(
        url, timeout=ANSWER_SECONDS, command_timeout=ANSWER_SECONDS, server_settings=_KEEPALIVE
    )
    try:
        await _until_alone(connection)
        leadership = Leadership()
        for channel in (FEED_CHANNEL, CHANGED_CHANNEL):
            await connection.add_listener(channel, leadership.hear)
        async with asyncio.TaskGroup() as group:
            watching = group.create_task(_watch(connection))
            yield leadership
            watching.cancel()
    finally:
        connection.terminate()


async def notify_changed(connection: Connection, endpoint_id: UUID) -> None:
    """Tell the leader when the caller's transaction is committed."""
    await connection.execute("SELECT pg_notify($1, $2)", CHANGED_CHANNEL, str(endpoint_id))


async def _until_alone(connection: "asyncpg.Connection[asyncpg.Record]") -> None:
    is_told = False
    while True:
        if await connection.fetchval("SELECT pg_try_advisory_lock($1)", _LOCK):
            return
        if not is_told:
            log.info("webhooks_standing_by")
        is_told = True
        await asyncio.sleep(LOOK_SECONDS)


async def _watch(connection: "asyncpg.Connection[asyncpg.Record]") -> None:
    try:
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            await connection.fetchval("SELECT 1")
    except (*AWAY, asyncpg.PostgresError) as error:
        raise LeadershipLost(type(error).__name__) from error
