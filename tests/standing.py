"""Servers, and a ring on them, for what is run by hand or strikes them down."""

import asyncio
import tempfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

from deploy.servers import databases, factory
from deploy.servers.factory import PostgresServer, RabbitMQServer
from tests.system.ring import Ring


@asynccontextmanager
async def standing_servers(
    directory: Path,
) -> AsyncIterator[tuple[PostgresServer, RabbitMQServer]]:
    """Postgres (durable, as in production) and RabbitMQ of one's own during the block."""
    async with AsyncExitStack() as stack:
        postgres = factory.postgres_server(directory / "postgres")
        stack.push_async_callback(postgres.stop)
        rabbitmq = factory.rabbitmq_server(directory / "rabbitmq")
        stack.push_async_callback(rabbitmq.stop)
        await asyncio.gather(postgres.start(), rabbitmq.start())
        yield postgres, rabbitmq


@asynccontextmanager
async def standing_ring(**arguments: Any) -> AsyncIterator[Ring]:
    """Servers and a started ring on them during the block; arguments are Ring's."""
    with tempfile.TemporaryDirectory(prefix="wa-standing-", ignore_cleanup_errors=True) as name:
        directory = Path(name)
        async with standing_servers(directory) as (postgres, rabbitmq):
            stored = await databases.provide(postgres.url)
            ring = Ring(
                directory=directory / "ring", databases=stored, broker=rabbitmq.url, **arguments
            )
            try:
                await ring.start()
                yield ring
            finally:
                await ring.stop()
