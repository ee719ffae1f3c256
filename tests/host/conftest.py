"""A migrated database with a connection pool, and what a host holds on it."""

from collections.abc import AsyncIterator

import asyncpg
import pytest

from tests.host.owner import HOST, Owner, owning
from tests.infrastructure import NewDatabase
from wa_contracts.runtime.migrations import migrate
from wa_session_host.database_clock import DatabaseClock
from wa_session_host.event_store import EventStore
from wa_session_host.leases import Leases


@pytest.fixture
async def pool(new_database: NewDatabase) -> AsyncIterator["asyncpg.Pool[asyncpg.Record]"]:
    """A fresh, migrated database of session-host."""
    url = (await new_database()).session_host
    await migrate(url, "wa_session_host")
    async with asyncpg.create_pool(url, min_size=1, max_size=6) as made:
        yield made


@pytest.fixture
def leases(pool: "asyncpg.Pool[asyncpg.Record]") -> Leases:
    """The leases of one host."""
    return Leases(pool, HOST, lease_seconds=30, clock=DatabaseClock())


@pytest.fixture
def store(pool: "asyncpg.Pool[asyncpg.Record]") -> EventStore:
    """The event store as one host reads it."""
    return EventStore(pool, HOST)


@pytest.fixture
async def owner(pool: "asyncpg.Pool[asyncpg.Record]", leases: Leases) -> AsyncIterator[Owner]:
    """A writer that holds every partition."""
    async with owning(pool, leases) as made:
        yield made
