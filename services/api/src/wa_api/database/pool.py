"""The way to Postgres: a pool that needs no database to start, and one error when it is away."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Self, TypeAlias

import asyncpg
from asyncpg.pool import PoolConnectionProxy

from wa_runtime.postgres import DATABASE_UNAVAILABLE, KeptConnection, skip_reset

Connection: TypeAlias = "PoolConnectionProxy[asyncpg.Record]"

ACQUIRE_SECONDS = 3.0
COMMAND_SECONDS = 10.0

AWAY = (
    *DATABASE_UNAVAILABLE,
    asyncpg.InsufficientResourcesError,
    asyncpg.InvalidAuthorizationSpecificationError,
    asyncpg.InvalidCatalogNameError,
    asyncpg.UndefinedTableError,  # not migrated yet
)
"""What asyncpg raises while the database is away, full or not set up."""


_OPTIONS: Any = {
    "command_timeout": COMMAND_SECONDS,
    "timeout": ACQUIRE_SECONDS,
    "server_settings": {"application_name": "wa_api"},
}


class DatabaseUnavailable(Exception):
    """Postgres cannot be reached, or is not ready. Try again later."""


@contextmanager
def _or_unavailable() -> Iterator[None]:
    try:
        yield
    except AWAY as error:
        raise DatabaseUnavailable(type(error).__name__) from error


class Database:
    """A pool of connections, opened on demand. Used as an async context manager."""

    def __init__(self, url: str, *, size: int = 10) -> None:
        """At most `size` connections, and one more for each `in_turn`."""
        self._url = url
        self._pool = asyncpg.create_pool(
            url, min_size=0, max_size=size, reset=skip_reset, **_OPTIONS
        )
        self._kept: list[KeptConnection] = []

    async def __aenter__(self) -> Self:
        await self._pool
        return self

    async def __aexit__(self, *_: object) -> None:
        self._pool.terminate()
        for kept in self._kept:
            kept.terminate()

    def in_turn(self) -> "InTurn":
        """A way of its own for one who asks one thing after the other, often."""
        kept = KeptConnection(lambda: asyncpg.connect(self._url, **_OPTIONS))
        self._kept.append(kept)
        return InTurn(kept)

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """One connection for the block.

        Raises:
            DatabaseUnavailable: none could be had in time, or it broke in the block.
        """
        with _or_unavailable():
            async with self._pool.acquire(timeout=ACQUIRE_SECONDS) as connection:
                yield connection

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        """One connection with an open transaction, committed at the end of the block.

        Raises:
            DatabaseUnavailable: as `connection`.
        """
        async with self.connection() as connection, connection.transaction():
            yield connection

    async def is_ready(self) -> bool:
        """Whether it answers and is migrated."""
        try:
            async with self.connection() as connection:
                await connection.fetchval("SELECT 1 FROM feed LIMIT 1")
        except DatabaseUnavailable:
            return False
        return True


class InTurn:
    """Statements one after the other, never two at once."""

    def __init__(self, kept: KeptConnection) -> None:
        self._kept = kept

    async def fetch(self, query: str, *arguments: Any) -> list[asyncpg.Record]:
        """The rows of a statement.

        Raises:
            DatabaseUnavailable: as `Database.connection`.
        """
        with _or_unavailable():
            return await self._kept.fetch(query, *arguments)
