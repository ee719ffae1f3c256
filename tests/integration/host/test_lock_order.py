"""Statements about several partitions lock their rows in one order; on a real Postgres.

A host appends, renews and saves checkpoints on three connections. With different orders two of them
deadlock, and Postgres ends one after a second.
"""

import asyncio
from collections.abc import Awaitable, Callable
from uuid import UUID, uuid4

import asyncpg
import pytest

from tests.deadlines import eventually
from tests.integration.host.owner import Owner
from wa_contracts.ids import SessionId, session_stream
from wa_contracts.session_events import SessionCreated
from wa_session_host.store.event_store import EventStore, RelayCheckpoint
from wa_session_host.store.leases import Leases

DESCENDING = tuple(range(9, 0, -1))
HELD_BY_ANOTHER = 5
WAITS = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
FREE = "SELECT partition FROM partitions FOR UPDATE SKIP LOCKED"

Statement = Callable[[Owner, Leases, EventStore], Awaitable[object]]


async def append(owner: Owner, _: Leases, __: EventStore) -> None:
    """One statement with an event of each partition."""
    futures = []
    for partition in DESCENDING:
        session_id = SessionId(UUID(int=partition))
        one = owner.of(session_id, session_stream(session_id), 0, SessionCreated())
        futures.append(owner.writer.append(one._replace(partition=partition, causation_id=uuid4())))
    await asyncio.gather(*futures)


async def renew(owner: Owner, leases: Leases, _: EventStore) -> None:
    """The leases of these partitions."""
    await leases.renew({one: owner.claims[one].token for one in DESCENDING})


async def save(owner: Owner, _: Leases, store: EventStore) -> None:
    """Their checkpoints."""
    await store.save_checkpoints(
        [RelayCheckpoint(one, owner.claims[one].token, relayed=1, open=1) for one in DESCENDING]
    )


@pytest.mark.parametrize("statement", [append, renew, save])
async def test_rows_are_locked_in_the_order_of_their_numbers(
    owner: Owner,
    leases: Leases,
    store: EventStore,
    pool: "asyncpg.Pool[asyncpg.Record]",
    statement: Statement,
) -> None:
    for partition in reversed(range(64)):  # the order of the table is another one
        await pool.execute(
            "UPDATE partitions SET relayed_position = 0 WHERE partition = $1", partition
        )
    async with pool.acquire() as blocking, pool.acquire() as probing:
        async with blocking.transaction():
            await blocking.execute(
                "SELECT FROM partitions WHERE partition = $1 FOR UPDATE", HELD_BY_ANOTHER
            )
            waiting = asyncio.ensure_future(statement(owner, leases, store))
            await eventually(lambda: probing.fetchval(WAITS), what="it waits")
            free = {row["partition"] for row in await probing.fetch(FREE)}
            assert set(range(64)) - free == set(range(1, HELD_BY_ANOTHER + 1))
        await asyncio.wait_for(waiting, 30)
