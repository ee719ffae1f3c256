"""Connections to Postgres: what services have beyond asyncpg's pools."""

from collections.abc import Awaitable, Callable
from typing import Any

import asyncpg

DATABASE_UNAVAILABLE = (
    OSError,  # includes TimeoutError
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,  # a connection that breaks while it is used anew
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,  # shutting down, crashed, starting up
    asyncpg.TooManyConnectionsError,
)
"""What asyncpg raises while the database is away, going away or coming back."""
DATABASE_ERRORS = (*DATABASE_UNAVAILABLE, asyncpg.PostgresError)
"""Everything that asyncpg raises."""


async def skip_reset(_: object) -> None:
    """A pool's `reset` without a round trip, for services that change nothing of a connection.

    No settings, listeners or session locks, that is; an open transaction is ended by asyncpg itself.
    """


class KeptConnection:
    """A connection for one who asks one thing after the other, opened at the first and kept.

    To take one from a pool and give it back costs as much as a small statement. One that broke, or
    of which an answer was not waited for, is replaced at the next statement.
    """

    def __init__(
        self, connect: "Callable[[], Awaitable[asyncpg.Connection[asyncpg.Record]]]"
    ) -> None:
        """`connect` opens one."""
        self._connect = connect
        self._connection: asyncpg.Connection[asyncpg.Record] | None = None

    async def fetch(self, query: str, *arguments: Any) -> list[asyncpg.Record]:
        """The rows of one statement, a transaction by itself; raises what asyncpg raises."""
        connection = self._connection
        if connection is None or connection.is_closed():
            connection = self._connection = await self._connect()
        try:
            return await connection.fetch(query, *arguments)
        except asyncpg.PostgresError:
            raise  # an answer like another
        except BaseException:
            connection.terminate()
            raise

    def terminate(self) -> None:
        """End the connection, if there is one, whatever it is doing."""
        if self._connection is not None:
            self._connection.terminate()
