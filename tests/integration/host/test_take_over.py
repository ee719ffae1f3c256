"""A take-over costs what is open, not what was ever stored; on a real Postgres."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import timedelta
from importlib.resources import files
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest

from tests.deadlines import eventually
from tests.integration.host.conftest import NewLeases
from tests.integration.host.owner import Owner, now, queued
from wa_contracts.ids import MessageId, SessionId, message_stream, session_stream
from wa_contracts.session_events import SessionCreated, SessionStopped
from wa_session_host.domain import message as domain
from wa_session_host.store import event_store
from wa_session_host.store.event_store import EventStore
from wa_session_host.store.group_commit import LAST_SEQUENCES
from wa_session_host.store.leases import Leases
from wa_session_host.store.stored_event import message_state

PARTITION = 1
SESSION = SessionId(UUID(int=7))
ENDED_MESSAGES = """
INSERT INTO events (partition, session_id, session_sequence, stream, stream_version, id, type,
                    version, occurred_at, correlation_id, causation_id, data)
SELECT $1, $2, CASE version WHEN 2 THEN NULL ELSE $3 + 2 * message + version / 3 END,
       'message-' || $3 + message, version, gen_random_uuid(),
       (ARRAY['message.queued', 'message.send_started', 'message.sent'])[version],
       1, now() - interval '2 days', $2, $2, '{}'
FROM generate_series(1, $4) AS message, generate_series(1, 3) AS version
ORDER BY message, version
"""


async def store_ended(pool: "asyncpg.Pool[asyncpg.Record]", number: int, first: int) -> None:
    """Store messages that were sent, with what Postgres knows of them."""
    await pool.execute(ENDED_MESSAGES, PARTITION, SESSION, first, number)
    await pool.execute("VACUUM ANALYZE events")
    await pool.execute("VACUUM ANALYZE open_messages")


async def buffers(pool: "asyncpg.Pool[asyncpg.Record]", query: str, *arguments: Any) -> int:
    """Pages that a statement touches."""
    found = await pool.fetchval(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {query}", *arguments)
    plan = json.loads(found)[0]["Plan"]
    return int(plan["Shared Hit Blocks"] + plan["Shared Read Blocks"])


async def test_what_a_load_reads_does_not_grow_with_what_is_stored(
    owner: Owner, pool: "asyncpg.Pool[asyncpg.Record]"
) -> None:
    await owner.append(SESSION, session_stream(SESSION), 0, SessionCreated())
    waiting = MessageId(uuid4())
    await owner.append(SESSION, message_stream(waiting), 0, queued(waiting))
    statements: dict[str, tuple[Any, ...]] = {
        event_store.SESSIONS_OF_PARTITION: (PARTITION, 0, 500),
        event_store.OPEN_MESSAGES: (PARTITION, 0, 500),
        event_store.SENT_TODAY: (PARTITION, now()),
        LAST_SEQUENCES: ([SESSION],),
    }
    pages = []
    for first, number in ((1_000, 500), (1_000_000, 20_000)):
        await store_ended(pool, number, first)
        pages.append([await buffers(pool, query, *said) for query, said in statements.items()])
    few, many = pages
    assert all(after < before + 20 for before, after in zip(few, many, strict=True)), pages


async def test_sessions_and_open_messages_are_read_in_pages(
    owner: Owner, store: EventStore
) -> None:
    sessions = [SessionId(uuid4()) for _ in range(5)]
    messages = [MessageId(uuid4()) for _ in range(7)]
    for one in sessions:
        await owner.append(one, session_stream(one), 0, SessionCreated(), SessionStopped())
    for message in messages:
        await owner.append(sessions[0], message_stream(message), 0, queued(message))
    read = [one.stream async for one in store.session_streams(PARTITION, page=3)]
    assert read == [session_stream(one) for one in sessions for _ in range(2)]
    streams = [stream[0].stream async for stream, _ in store.open_messages(PARTITION, page=2)]
    assert streams == [message_stream(one) for one in messages]


async def test_messages_that_an_earlier_version_queued_are_open(
    owner: Owner, store: EventStore, pool: "asyncpg.Pool[asyncpg.Record]"
) -> None:
    """The migration fills the table, and finds no message that has ended."""
    ended, waiting = MessageId(uuid4()), MessageId(uuid4())
    for one in (ended, waiting):
        await owner.append(SESSION, message_stream(one), 0, queued(one))
    state = message_state(await store.stream(message_stream(ended)))
    assert isinstance(state, domain.Queued)
    await owner.append(SESSION, message_stream(ended), 1, domain.cancelled(state.facts))
    await pool.execute("DELETE FROM open_messages")
    fill = files("wa_session_host") / "migrations" / "0005_fill_open_messages.sql"
    for _ in range(2):
        await pool.execute(fill.read_text())
        [[stored]] = [stream async for stream, _ in store.open_messages(PARTITION)]
        assert stored.stream == message_stream(waiting)


@pytest.fixture
async def busy_pool(pool: "asyncpg.Pool[asyncpg.Record]") -> AsyncIterator[None]:
    """Every connection of the pool is taken, as by slow loads."""
    async with AsyncExitStack() as stack:
        for _ in range(pool.get_max_size()):
            await stack.enter_async_context(pool.acquire())
        yield


@pytest.mark.usefixtures("busy_pool")
async def test_slow_loads_delay_no_renewal(leases: Leases) -> None:
    async with asyncio.timeout(30):
        await leases.renew({})
        [claim] = await leases.claim(1)
        renewal = await leases.renew({claim.partition: claim.token})
        assert renewal.held == {claim.partition}
        await leases.release(claim.partition, claim.token)


async def test_statements_about_leases_wait_for_each_other(
    leases: Leases, new_leases: NewLeases
) -> None:
    """They share a connection, which carries one statement at a time."""
    claims = await leases.claim(20)
    tokens = {one.partition: one.token for one in claims}
    async with asyncio.timeout(30):
        await asyncio.gather(
            *(leases.renew(tokens) for _ in range(5)),
            *(leases.release(one.partition, one.token) for one in claims[:10]),
        )
        assert len((await leases.renew(tokens)).held) == 10
    assert len(await new_leases("host-b").claim(64)) == 54


async def test_a_new_owner_continues_the_sequence_of_a_session(
    owner: Owner, pool: "asyncpg.Pool[asyncpg.Record]"
) -> None:
    await store_ended(pool, 10, first=100)
    last = await pool.fetchval("SELECT max(session_sequence) FROM events")
    [stored] = await owner.append(SESSION, session_stream(SESSION), 0, SessionCreated())
    assert stored.session_sequence == last + 1
    assert now() - stored.occurred_at < timedelta(minutes=5)
    await eventually(lambda: owner.relayed == [stored], what="it is relayed")
