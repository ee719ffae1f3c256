"""A ring with servers of its own, for what is run by hand."""

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

from deploy.local import databases, servers
from tests.system.ring import Ring


@asynccontextmanager
async def standing_ring(**arguments: Any) -> AsyncIterator[Ring]:
    """Postgres, RabbitMQ and a ring during the block; arguments are Ring's."""
    directory = Path(tempfile.mkdtemp(prefix="wa-standing-"))
    async with AsyncExitStack() as stack:
        stack.callback(shutil.rmtree, directory, ignore_errors=True)
        postgres = servers.postgres_server(directory / "postgres")
        stack.push_async_callback(postgres.stop)
        rabbitmq = servers.rabbitmq_server(directory / "rabbitmq")
        stack.push_async_callback(rabbitmq.stop)
        await asyncio.gather(postgres.start(), rabbitmq.start())
        ring = Ring(
            directory=directory / "ring",
            databases=await databases.provide(postgres.url, "standing", "standing_devices"),
            broker=await rabbitmq.add_vhost("standing"),
            **arguments,
        )
        stack.push_async_callback(ring.stop)
        await ring.start()
        yield ring
