"""Scheduled messages in the store: the table that the trigger keeps; on a real Postgres."""

from datetime import datetime, timedelta
from uuid import UUID, uuid4

import asyncpg

from tests.deadlines import eventually
from tests.integration.host.owner import HOST, Owner, now, queued
from tests.integration.host.test_deleted_sessions import OTHER, PARTITION, SESSION, held
from wa_contracts.ids import MessageId, message_stream, session_stream
from wa_contracts.internal.commands import MessageType
from wa_contracts.message_events import MessageCancelled, MessageScheduled
from wa_contracts.session_events import SessionCreated, SessionDeleted, SessionStopped
from wa_session_host.domain.message import Queued
from wa_session_host.sessions.open_message import OpenMessage
from wa_session_host.store.event_store import EventStore
from wa_session_host.store.retention import StreamRetention
from wa_session_host.store.stored_event import message_state

TO = "919876543210"


def scheduled(message_id: MessageId, at: datetime) -> MessageScheduled:
    """A message for that time."""
    return MessageScheduled(
        id=message_id,
        to=TO,
        type=MessageType.TEXT,
        send_at=at,
        expires_at=at + timedelta(hours=1),
    )


async def test_what_waits_is_read_in_the_order_of_its_times(
    owner: Owner, store: EventStore
) -> None:
    start = now()
    ids = [MessageId(uuid4()) for _ in range(4)]
    for seconds, one in zip((30, 10, 20, 3600), ids, strict=True):
        event = scheduled(one, start + timedelta(seconds=seconds))
        await owner.append(SESSION, message_stream(one), 0, event)
    numbers, first = await store.scheduled(PARTITION)
    assert (numbers, first) == ({SESSION: 4}, start + timedelta(seconds=10))
    minute = start + timedelta(minutes=1)
    due = await store.due_messages(PARTITION, minute, 10)
    assert [events[0].stream for events in due] == [
        message_stream(ids[number]) for number in (1, 2, 0)
    ]
    assert await store.due_messages(PARTITION, minute, 10, OTHER) == []
    assert await store.next_due(PARTITION, minute) == start + timedelta(hours=1)
    cancel = MessageCancelled(id=ids[1], to=TO, type=MessageType.TEXT)
    await owner.append(SESSION, message_stream(ids[1]), 1, cancel)
    await owner.append(SESSION, message_stream(ids[2]), 1, queued(ids[2]))
    due = await store.due_messages(PARTITION, minute, 10)
    assert [events[0].stream for events in due] == [message_stream(ids[0])]


async def test_a_due_message_is_queued_with_its_content(owner: Owner, store: EventStore) -> None:
    await owner.append(SESSION, session_stream(SESSION), 0, SessionCreated(), SessionStopped())
    message_id = MessageId(uuid4())
    event = scheduled(message_id, now() - timedelta(seconds=5))
    stream = message_stream(message_id)
    await owner.append(SESSION, stream, 0, event)
    async with held(owner, store) as partition:
        runner = partition.sessions[SESSION].runner
        await eventually(lambda: runner.open_message(message_id), what="it is queued")
        assert partition.schedule.number_of(SESSION) == 0
    assert [one.type for one in await store.stream(stream)] == [
        "message.scheduled",
        "message.queued",
    ]
    assert (await store.content(stream)).text == "a secret"


async def test_a_queued_one_keeps_its_place_behind_what_was_queued_then(
    owner: Owner, store: EventStore
) -> None:
    """Its place is that of its queueing, for the next owner too."""
    message_id, other = MessageId(uuid4()), MessageId(uuid4())
    await owner.append(SESSION, message_stream(message_id), 0, scheduled(message_id, now()))
    await owner.append(SESSION, message_stream(other), 0, queued(other))
    await owner.append(SESSION, message_stream(message_id), 1, queued(message_id))
    restored = []
    async for events, size in store.open_messages(PARTITION):
        state = message_state(events)
        assert isinstance(state, Queued)
        restored.append(OpenMessage.restored(state, events, size))
    places = {one.facts.id: one.queued_position for one in restored}
    assert places[other] < places[message_id]


async def test_a_deleted_sessions_schedule_fails_and_is_not_forgotten_before(
    owner: Owner, store: EventStore, pool: "asyncpg.Pool[asyncpg.Record]"
) -> None:
    await owner.append(SESSION, session_stream(SESSION), 0, SessionCreated(), SessionStopped())
    message_id = MessageId(UUID(int=77))
    later = scheduled(message_id, now() + timedelta(days=1))
    stream = message_stream(message_id)
    await owner.append(SESSION, stream, 0, later)
    await owner.append(SESSION, session_stream(SESSION), 2, SessionDeleted())
    claim = owner.claims[PARTITION]
    await pool.execute("UPDATE partitions SET relayed_position = 1000000")
    retention = StreamRetention(pool, HOST, timedelta(days=30))
    await retention.remove(PARTITION, claim.token, now())
    assert len(await store.stream(stream)) == 1
    async with held(owner, store):

        async def failed() -> bool:
            return (await store.stream(stream))[-1].type == "message.failed"

        await eventually(failed, what="it fails with its session")
