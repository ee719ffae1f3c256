"""Helpers shared by the processes."""

import asyncio
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

from prometheus_client import CollectorRegistry, start_http_server

from wa_api.database.pool import Database
from wa_api.projecting.retention import Retention
from wa_api.settings import Settings
from wa_runtime.retries import RETRIES


@asynccontextmanager
async def running(*parts: Coroutine[Any, Any, Any]) -> AsyncIterator[None]:
    """Run coroutines during the block and cancel them at its end."""
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(part) for part in parts]
        yield
        for task in tasks:
            task.cancel()


def first_address(host: str) -> str:
    """The first address in HOST."""
    first = host.partition(",")[0].strip()
    return "127.0.0.1" if first == "localhost" else first


def retention_of(settings: Settings, database: Database, *, shadow: bool = False) -> Retention:
    """The retention task for RETENTION_DAYS."""
    keep = timedelta(days=settings.retention_days)
    return Retention(database, keep=keep, clock=lambda: datetime.now(UTC), shadow=shadow)


@contextmanager
def metrics_served(registry: CollectorRegistry, host: str, port: int) -> Iterator[None]:
    """Serve `/metrics` from a thread during the block.

    Raises:
        OSError: The port is in use.
    """
    registry.register(RETRIES)
    server, thread = start_http_server(port, addr=host, registry=registry)
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
