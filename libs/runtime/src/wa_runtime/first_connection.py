"""The first connection of a command to Postgres, which may still be starting or recovering."""

import asyncpg

from wa_runtime.retries import until_available

CONNECT_SECONDS = 5.0
PATIENCE_SECONDS = 60.0
NOT_READY = (
    OSError,
    asyncpg.OperatorInterventionError,  # starting up, shutting down, in recovery
    asyncpg.PostgresConnectionError,  # closed during the handshake
    asyncpg.TooManyConnectionsError,
)
"""A wrong password, an unknown database and a malformed URL are not waited for."""


async def connect_when_ready(
    url: str, operation: str, *, within: float = PATIENCE_SECONDS
) -> "asyncpg.Connection[asyncpg.Record]":
    """Connect once the server accepts connections. Logs the wait.

    Raises:
        TimeoutError: The server is not ready within that time; the text names its last answer.
        asyncpg.PostgresError: The server refuses this user or database.
    """
    return await until_available(
        operation,
        lambda: asyncpg.connect(url, timeout=CONNECT_SECONDS),
        on=NOT_READY,
        within=within,
    )
