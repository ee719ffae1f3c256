"""A Postgres pool that starts without a database, and one error while the database is away."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Self, TypeAlias

import asyncpg
from asyncpg.pool import PoolConnectionProxy

from wa_runtime.postgres import DATABASE_ERRORS, KeptConnection, is_unavailable, skip_reset

Connection: TypeAlias = "PoolConnectionProxy[asyncpg.Record]"

ACQUIRE_SECONDS = 3.0
COMMAND_SECONDS = 10.0

_OPTIONS: Any = {
    "command_timeout": COMMAND_SECONDS,
    "timeout": ACQUIRE_SECONDS,
    "server_settings": {"application_name": "wa_api"},
}


class DatabaseUnavailable(Exception):
    """Postgres is unreachable or not ready. Try again later."""


@contextmanager
def _or_unavailable() -> Iterator[None]:
    try:
        yield
    except DATABASE_ERRORS as error:
        if not is_unavailable(error):
            raise
        raise DatabaseUnavailable(type(error).__name__) from error


class Database:
    """A pool of connections, opened on demand. An async context manager."""

    def __init__(self, url: str, *, size: int = 10) -> None:
        """At most `size` connections, plus one per `in_turn`."""
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
        """A dedicated connection for a caller that runs frequent statements in sequence."""
        kept = KeptConnection(lambda: asyncpg.connect(self._url, **_OPTIONS))
        self._kept.append(kept)
        return InTurn(kept)

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """A connection for the block.

        Raises:
            DatabaseUnavailable: No connection in time, or the connection broke in the block.
        """
        with _or_unavailable():
            async with self._pool.acquire(timeout=ACQUIRE_SECONDS) as connection:
                yield connection

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        """A connection with a transaction that commits at the end of the block.

        Raises:
            DatabaseUnavailable: See `connection`.
        """
        async with self.connection() as connection, connection.transaction():
            yield connection

    async def is_ready(self) -> bool:
        """True if the database answers and is migrated."""
        try:
            async with self.connection() as connection:
                await connection.fetchval("SELECT 1 FROM feed LIMIT 1")
        except DatabaseUnavailable:
            return False
        return True


class InTurn:
    """A dedicated connection. Runs one statement at a time."""

    def __init__(self, kept: KeptConnection) -> None:
        self._kept = kept

    async def fetch(self, query: str, *arguments: Any) -> list[asyncpg.Record]:
        """The rows of a statement.

        Raises:
            DatabaseUnavailable: See `Database.connection`.
        """
        with _or_unavailable():
            return await self._kept.fetch(query, *arguments)
