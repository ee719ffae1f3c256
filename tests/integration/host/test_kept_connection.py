"""A connection that is kept: replaced when it is of no more use, and only then; on a real Postgres."""

import asyncio
from collections.abc import AsyncIterator

import asyncpg
import pytest

from tests.deadlines import eventually
from wa_runtime.postgres import DATABASE_ERRORS, KeptConnection

PID = "SELECT pg_backend_pid()"
SLEEPS = (
    "SELECT true FROM pg_stat_activity WHERE pid = $1 AND query LIKE '%3600%' AND state = 'active'"
)


@pytest.fixture
async def kept(database_url: str) -> AsyncIterator[KeptConnection]:
    """Not opened yet."""
    made = KeptConnection(lambda: asyncpg.connect(database_url, command_timeout=5))
    yield made
    made.terminate()


async def test_a_statement_that_fails_leaves_it(kept: KeptConnection) -> None:
    [[pid]] = await kept.fetch(PID)
    with pytest.raises(asyncpg.DivisionByZeroError):
        await kept.fetch("SELECT 1 / $1::int", 0)
    [[now]] = await kept.fetch(PID)
    assert now == pid


async def test_one_that_broke_while_nothing_was_asked_is_replaced(
    kept: KeptConnection, pool: "asyncpg.Pool[asyncpg.Record]"
) -> None:
    [[pid]] = await kept.fetch(PID)
    await pool.execute("SELECT pg_terminate_backend($1)", pid)
    found: list[int] = []

    async def is_another() -> bool:
        try:
            [[now]] = await kept.fetch(PID)
        except DATABASE_ERRORS:
            return False  # asked before the news of its end had come
        found.append(now)
        return True

    await eventually(is_another, what="an answer")
    assert found != [pid]


async def test_one_whose_answer_was_not_waited_for_is_replaced(
    kept: KeptConnection, pool: "asyncpg.Pool[asyncpg.Record]"
) -> None:
    [[pid]] = await kept.fetch(PID)
    asking = asyncio.create_task(kept.fetch("SELECT pg_sleep(3600)"))

    async def sleeps() -> bool:
        return bool(await pool.fetchval(SLEEPS, pid))

    await eventually(sleeps, what="the statement runs")
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    [[now]] = await kept.fetch(PID)
    assert now != pid
