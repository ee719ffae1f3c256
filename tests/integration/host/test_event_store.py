"""Appends: all or none, fenced, gapless, in order; on a real Postgres."""

import asyncio
import random
from collections.abc import Sequence
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest

from tests.deadlines import turns
from tests.integration.host.owner import Owner, now, queued
from wa_contracts.ids import MessageId, SessionId, message_stream, session_stream
from wa_contracts.internal.commands import MessageType
from wa_contracts.internal.replies import ErrorDetail
from wa_contracts.message_events import MessageFailed
from wa_contracts.session_events import (
    SessionCreated,
    SessionDisconnected,
    SessionStarting,
    SessionStopped,
)
from wa_runtime.postgres import KeptConnection
from wa_session_host.domain import message as domain
from wa_session_host.domain.message import Content, MessageSendStarted
from wa_session_host.store import group_commit
from wa_session_host.store.event_store import EventStore, RelayCheckpoint
from wa_session_host.store.group_commit import Stored
from wa_session_host.store.stored_event import (
    LeaseLost,
    StoredEvent,
    VersionConflict,
    message_state,
)


async def test_what_was_appended_is_read_again(owner: Owner, store: EventStore) -> None:
    session_id = SessionId(uuid4())
    events = (SessionCreated(name="Sales"), SessionStarting(reason="created"))
    stored = await owner.append(session_id, session_stream(session_id), 0, *events)
    assert [one.stream_version for one in stored] == [1, 2]
    assert [one.session_sequence for one in stored] == [1, 2]
    read = await store.stream(session_stream(session_id))
    assert [one.event for one in read] == list(events)
    assert [one.position for one in read] == [one.position for one in stored]
    assert owner.relayed == stored


async def test_the_expected_version_is_kept(owner: Owner) -> None:
    session_id = SessionId(uuid4())
    stream = session_stream(session_id)
    await owner.append(session_id, stream, 0, SessionCreated())
    with pytest.raises(VersionConflict):
        await owner.append(session_id, stream, 0, SessionStopped())
    (after,) = await owner.append(session_id, stream, 1, SessionStopped())
    assert after.session_sequence == 2, "a refused append leaves no gap"


async def test_after_several_appends_in_one_statement_the_next_ones_gather(
    owner: Owner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(group_commit, "LONGEST_PAUSE_SECONDS", 60)
    session_id = SessionId(uuid4())
    statements: list[int] = []
    fetch = KeptConnection.fetch

    async def slow_fetch(connection: KeptConnection, query: str, *arguments: Any) -> Any:
        if query != group_commit.APPEND:
            return await fetch(connection, query, *arguments)
        rows: Sequence[int] = arguments[3]
        statements.append(len(rows))
        found = await fetch(connection, query, *arguments)
        await asyncio.sleep(0.5)
        return found

    monkeypatch.setattr(KeptConnection, "fetch", slow_fetch)

    def append() -> Stored:
        message_id = MessageId(uuid4())
        return owner.writer.append(
            owner.of(session_id, message_stream(message_id), 0, queued(message_id))
        )

    await append()
    together = [append(), append()]
    await asyncio.wait(together)
    early = append()
    await turns()
    assert statements == [1, 2], "the writer pauses"
    await asyncio.gather(early, append())
    assert statements == [1, 2, 2]
    await append()
    one = append()
    await turns()
    assert statements[4:] == [1], "one that comes alone waits for nobody"
    await asyncio.gather(one, append())
    assert statements[4:] == [1, 1]


async def test_a_statement_that_is_full_waits_for_no_more(
    owner: Owner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(group_commit, "LONGEST_PAUSE_SECONDS", 60)
    monkeypatch.setattr(group_commit, "BATCH", 2)
    statements: list[str] = []
    first_ended = asyncio.Event()
    fetch = KeptConnection.fetch

    async def slow_at_first(connection: KeptConnection, query: str, *arguments: Any) -> Any:
        if query == group_commit.APPEND:
            statements.append(query)
        found = await fetch(connection, query, *arguments)
        if len(statements) == 1:
            await asyncio.sleep(0.5)  # a pause would be as long
            first_ended.set()
        return found

    monkeypatch.setattr(KeptConnection, "fetch", slow_at_first)
    session_id = SessionId(uuid4())
    ids = [MessageId(uuid4()) for _ in range(4)]
    futures = [
        owner.writer.append(owner.of(session_id, message_stream(one), 0, queued(one)))
        for one in ids
    ]
    await first_ended.wait()
    await turns()
    assert len(statements) == 2, "the writer does not pause"
    await asyncio.gather(*futures)
    assert len(statements) == 2


async def test_one_conflict_harms_no_other_append_of_the_same_commit(owner: Owner) -> None:
    session_id = SessionId(uuid4())
    ids = [MessageId(uuid4()) for _ in range(5)]
    await owner.append(session_id, message_stream(ids[2]), 0, queued(ids[2]))
    futures = [
        owner.writer.append(owner.of(session_id, message_stream(one), 0, queued(one)))
        for one in ids
    ]
    results = await asyncio.gather(*futures, return_exceptions=True)
    assert isinstance(results[2], VersionConflict)
    sequences = [r[0].session_sequence for r in results if isinstance(r, list)]
    assert sequences == [2, 3, 4, 5]


async def test_internal_events_take_no_sequence(owner: Owner) -> None:
    session_id = SessionId(uuid4())
    message_id = MessageId(uuid4())
    stored = await owner.append(
        session_id,
        message_stream(message_id),
        0,
        queued(message_id),
        MessageSendStarted(started_at=now()),
    )
    assert [one.session_sequence for one in stored] == [1, None]


async def test_content_is_beside_the_event_and_never_in_it(owner: Owner, store: EventStore) -> None:
    session_id = SessionId(uuid4())
    message_id = MessageId(uuid4())
    await owner.append(session_id, message_stream(message_id), 0, queued(message_id))
    (read,) = await store.stream(message_stream(message_id))
    assert read.content == Content(text="a secret")
    assert "secret" not in read.data_json
    assert message_state([read]) == message_state(await open_events(store))


async def test_thousand_concurrent_appends_are_gapless_and_in_order(
    owner: Owner, store: EventStore
) -> None:
    session_id = SessionId(uuid4())
    ids = [MessageId(uuid4()) for _ in range(1000)]
    futures = [
        owner.writer.append(owner.of(session_id, message_stream(one), 0, queued(one)))
        for one in ids
    ]
    await asyncio.gather(*futures)
    read = [stored async for stored in store.of_session(session_id, 1, page=300)]
    assert [one.session_sequence for one in read] == list(range(1, 1001))
    assert [UUID(one.stream.removeprefix("message-")) for one in read] == ids
    assert [one.position for one in owner.relayed] == sorted(one.position for one in read)


async def test_a_host_that_lost_its_lease_stores_nothing(
    owner: Owner, pool: "asyncpg.Pool[asyncpg.Record]", store: EventStore
) -> None:
    session_id = SessionId(uuid4())
    await pool.execute("UPDATE partitions SET host = 'host-b', fencing_token = fencing_token + 1")
    with pytest.raises(LeaseLost):
        await owner.append(session_id, session_stream(session_id), 0, SessionCreated())
    assert await store.stream(session_stream(session_id)) == []
    assert owner.relayed == []


async def test_a_host_whose_lease_ran_out_stores_nothing(
    owner: Owner, pool: "asyncpg.Pool[asyncpg.Record]"
) -> None:
    session_id = SessionId(uuid4())
    await pool.execute("UPDATE partitions SET expires_at = clock_timestamp()")
    with pytest.raises(LeaseLost):
        await owner.append(session_id, session_stream(session_id), 0, SessionCreated())


async def test_connections_that_are_cut_lose_and_repeat_nothing(
    owner: Owner, pool: "asyncpg.Pool[asyncpg.Record]", store: EventStore
) -> None:
    session_id = SessionId(uuid4())
    stream = session_stream(session_id)
    await owner.append(session_id, stream, 0, SessionCreated())
    cutting = asyncio.create_task(cut_connections(pool))
    try:
        for version in range(1, 80):
            event = SessionDisconnected(reason=str(version), message="")
            async with asyncio.timeout(10):
                await owner.append(session_id, stream, version, event)
    finally:
        cutting.cancel()
        await asyncio.wait([cutting])
    read = await store.stream(stream)
    assert [one.session_sequence for one in read] == list(range(1, 81))
    assert [one.position for one in owner.relayed] == [one.position for one in read]


async def open_events(store: EventStore) -> list[StoredEvent]:
    """The events of partition 1's open messages."""
    return [stored async for stream, _ in store.open_messages(1) for stored in stream]


async def cut_connections(pool: "asyncpg.Pool[asyncpg.Record]") -> None:
    """End the server's side of all other connections again and again."""
    async with pool.acquire() as connection:
        while True:
            await connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND usename = current_user "
                "AND pid <> pg_backend_pid()"
            )
            await asyncio.sleep(random.uniform(0, 0.1))


async def test_marks_only_move_forward_and_only_for_the_owner(
    owner: Owner, pool: "asyncpg.Pool[asyncpg.Record]", store: EventStore
) -> None:
    token = owner.claims[1].token
    await store.save_checkpoints([RelayCheckpoint(1, token, relayed=10, open=7)])
    await store.save_checkpoints([RelayCheckpoint(1, token, relayed=4, open=3)])
    other = EventStore(pool, "host-b")
    await other.save_checkpoints([RelayCheckpoint(1, token, relayed=99, open=99)])
    row = await pool.fetchrow("SELECT * FROM partitions WHERE partition = 1")
    assert row is not None
    assert (row["relayed_position"], row["open_position"]) == (10, 7)


async def test_an_ended_message_is_not_open_any_more(owner: Owner, store: EventStore) -> None:
    session_id = SessionId(uuid4())
    one, two = MessageId(uuid4()), MessageId(uuid4())
    await owner.append(session_id, message_stream(one), 0, queued(one))
    await owner.append(session_id, message_stream(two), 0, queued(two))
    facts = message_state(await store.stream(message_stream(one)))
    assert isinstance(facts, domain.Queued)
    await owner.append(session_id, message_stream(one), 1, domain.cancelled(facts.facts))
    still = await open_events(store)
    assert [stored.stream for stored in still] == [message_stream(two)]


async def test_a_refused_message_that_was_queued_after_all_is_open(
    owner: Owner, store: EventStore
) -> None:
    session_id = SessionId(uuid4())
    one = MessageId(uuid4())
    error = ErrorDetail(code="session_scan_qr", message="Not linked yet.")
    refused = MessageFailed(id=one, to="919876543210", type=MessageType.TEXT, error=error)
    await owner.append(session_id, message_stream(one), 0, refused)
    assert await open_events(store) == []
    await owner.append(session_id, message_stream(one), 1, queued(one))
    still = await open_events(store)
    assert [stored.type for stored in still] == ["message.failed", "message.queued"]
