"""The way to Postgres: a pool that needs no database to start, and one error when it is away."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Self, TypeAlias

import asyncpg
from asyncpg.pool import PoolConnectionProxy

from wa_contracts.runtime.postgres import keep_as_it_is

Connection: TypeAlias = "PoolConnectionProxy[asyncpg.Record]"

ACQUIRE_SECONDS = 3.0
COMMAND_SECONDS = 10.0

AWAY = (
    OSError,  # includes TimeoutError
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.OperatorInterventionError,  # shutting down, crashed, starting up
    asyncpg.InsufficientResourcesError,
    asyncpg.InvalidAuthorizationSpecificationError,
    asyncpg.InvalidCatalogNameError,
    asyncpg.UndefinedTableError,  # not migrated yet
    asyncpg.InternalClientError,  # a connection that breaks while it is used anew
)
"""What asyncpg raises while the database is away, going away, coming back or not set up."""


class DatabaseUnavailable(Exception):
    """Postgres cannot be reached, or is not ready. Try again later."""


class Database:
    """A pool of connections, opened on demand. Used as an async context manager."""

    def __init__(self, url: str, *, size: int = 10) -> None:
        self._pool = asyncpg.create_pool(
            url,
            min_size=0,
            max_size=size,
            command_timeout=COMMAND_SECONDS,
            timeout=ACQUIRE_SECONDS,
            server_settings={"application_name": "wa_api"},
            reset=keep_as_it_is,
        )

    async def __aenter__(self) -> Self:
        await self._pool
        return self

    async def __aexit__(self, *_: object) -> None:
        self._pool.terminate()

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """One connection for the block.

        Raises:
            DatabaseUnavailable: none could be had in time, or it broke in the block.
        """
        try:
            async with self._pool.acquire(timeout=ACQUIRE_SECONDS) as connection:
                yield connection
        except AWAY as error:
            raise DatabaseUnavailable(type(error).__name__) from error

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
