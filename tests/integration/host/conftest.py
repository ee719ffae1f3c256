"""A migrated database with a connection pool, and what a host holds on it."""

from collections.abc import AsyncIterator, Callable

import asyncpg
import pytest

from tests.infrastructure import NewDatabase
from tests.integration.host.owner import HOST, Owner, owning
from wa_runtime.migrations import migrate
from wa_runtime.postgres import KeptConnection
from wa_session_host.store.event_store import EventStore
from wa_session_host.store.leases import DatabaseClock, Leases

NewLeases = Callable[..., Leases]


@pytest.fixture
async def database_url(new_database: NewDatabase) -> str:
    """A fresh, migrated database of session-host."""
    url = (await new_database()).session_host
    await migrate(url, "wa_session_host")
    return url


@pytest.fixture
async def pool(database_url: str) -> AsyncIterator["asyncpg.Pool[asyncpg.Record]"]:
    """Connections to it."""
    async with asyncpg.create_pool(database_url, min_size=1, max_size=6) as made:
        yield made


@pytest.fixture
async def new_leases(database_url: str) -> AsyncIterator[NewLeases]:
    """Call it for the leases of a host."""
    connections = []

    def new(host: str, clock: DatabaseClock | None = None) -> Leases:
        connection = KeptConnection(lambda: asyncpg.connect(database_url))
        connections.append(connection)
        return Leases(connection, host, lease_seconds=30, clock=clock or DatabaseClock())

    yield new
    for connection in connections:
        connection.terminate()


@pytest.fixture
def leases(new_leases: NewLeases) -> Leases:
    """The leases of one host."""
    return new_leases(HOST)


@pytest.fixture
def store(pool: "asyncpg.Pool[asyncpg.Record]") -> EventStore:
    """The event store as one host reads it."""
    return EventStore(pool, HOST)


@pytest.fixture
async def owner(database_url: str, leases: Leases) -> AsyncIterator[Owner]:
    """A writer that holds every partition."""
    async with owning(database_url, leases) as made:
        yield made
