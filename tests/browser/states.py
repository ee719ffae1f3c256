"""States that engines reach seldom, put where the page reads them."""

import asyncpg

from tests.system.ring import Ring


async def put_into_state(ring: Ring, name: str, status: str, reason: str) -> None:
    """Let the page show a session like that, whatever its engine does."""
    connection = await asyncpg.connect(ring.databases.api)
    try:
        await connection.execute(
            "UPDATE sessions SET status = $2, status_reason = $3, qr = NULL WHERE name = $1",
            *(name, status, reason),
        )
    finally:
        await connection.close()
