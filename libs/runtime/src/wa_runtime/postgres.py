"""Connections to Postgres beyond asyncpg's pools, and the errors of an outage."""

from collections.abc import Awaitable, Callable
from typing import Any

import asyncpg

DATABASE_ERRORS = (
    OSError,  # includes TimeoutError
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,  # a connection that breaks during its reset
    asyncpg.PostgresError,
)
"""All errors of asyncpg."""
_FAULTS = (
    asyncpg.DataError,
    asyncpg.IntegrityConstraintViolationError,
    asyncpg.SyntaxOrAccessError,
    asyncpg.ProgramLimitExceededError,
    asyncpg.FeatureNotSupportedError,
)


def is_unavailable(error: BaseException) -> bool:
    """Whether the same statement may succeed later.

    True for every error of asyncpg (away, read-only, full, overloaded, deadlocked, not migrated),
    except errors that name a fault of the statement or of its values.
    """
    if isinstance(error, asyncpg.UndefinedTableError):  # not migrated yet
        return True
    if isinstance(error, asyncpg.InterfaceError):
        return not isinstance(error, ValueError)  # a value that asyncpg cannot encode
    return isinstance(error, DATABASE_ERRORS) and not isinstance(error, _FAULTS)


async def skip_reset(_: object) -> None:
    """A pool's `reset` that saves a round trip. asyncpg itself rolls back an open transaction.

    For services that change no setting, listener or session lock of a connection.
    """


class KeptConnection:
    """A persistent connection for sequential statements, opened by the first one.

    A pool's acquire and release cost as much as a small statement. The next statement replaces a
    connection that broke or whose answer was abandoned.
    """

    def __init__(
        self, connect: "Callable[[], Awaitable[asyncpg.Connection[asyncpg.Record]]]"
    ) -> None:
        self._connect = connect
        self._connection: asyncpg.Connection[asyncpg.Record] | None = None

    async def fetch(self, query: str, *arguments: Any) -> list[asyncpg.Record]:
        """Return the rows of one statement, a transaction by itself. Raises asyncpg's errors."""
        connection = self._connection
        if connection is None or connection.is_closed():
            connection = self._connection = await self._connect()
        try:
            return await connection.fetch(query, *arguments)
        except asyncpg.PostgresError:
            raise  # an answer: the connection is intact
        except BaseException:
            connection.terminate()
            raise

    def terminate(self) -> None:
        """Close the connection at once, during a statement too."""
        if self._connection is not None:
            self._connection.terminate()
