"""Replays of a partition and of a session: in bundles, in order, over what is not stored any more."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import timedelta
from uuid import UUID, uuid4

import aio_pika
import asyncpg
import pytest

from tests.deadlines import eventually
from tests.integration.host.owner import Owner, now, queued
from wa_contracts.codec import decode_bundle, decode_event, decode_partition_replayed
from wa_contracts.ids import CommandId, MessageId, SessionId, message_stream, session_stream
from wa_contracts.internal.bundle import BUNDLE, BUNDLE_EVENTS
from wa_contracts.internal.commands import ReplayPartition, ReplaySession
from wa_contracts.internal.replay import PARTITION_REPLAYED
from wa_contracts.session_events import SessionCreated
from wa_runtime.broker import BrokerLink
from wa_session_host.domain.message import MessageSendStarted
from wa_session_host.publishing.outbox import Outbox
from wa_session_host.publishing.replay import Replays
from wa_session_host.store.event_store import EventStore

ONE, TWO = SessionId(UUID(int=1)), SessionId(UUID(int=2))
PARTITION = 1
QUEUE = "wa.rebuild.test"


@pytest.fixture
async def link(broker: str) -> AsyncIterator[BrokerLink]:
    """A host's connection for publishing."""
    made = BrokerLink(broker, "tests")
    running = asyncio.create_task(made.run())
    yield made
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running


@pytest.fixture
async def replays(owner: Owner, store: EventStore, link: BrokerLink) -> Replays:
    """The replays of a partition with two sessions: 1 to 451 and 1, 2."""
    for session_id in (ONE, TWO):
        await owner.append(session_id, session_stream(session_id), 0, SessionCreated())
    ids = [MessageId(uuid4()) for _ in range(450)]
    appends = [
        owner.writer.append(
            owner.of(ONE, message_stream(one), 0, queued(one), MessageSendStarted(started_at=now()))
        )
        for one in ids
    ]
    await asyncio.gather(*appends)
    last = MessageId(uuid4())
    await owner.append(TWO, message_stream(last), 0, queued(last))
    return Replays(store, Outbox(link))


def partition_command() -> ReplayPartition:
    """What a rebuild asks for."""
    id_ = CommandId(uuid4())
    return ReplayPartition(
        id=id_,
        correlation_id=id_,
        issued_at=now(),
        expires_at=now() + timedelta(hours=1),
        partition=PARTITION,
        queue=QUEUE,
    )


class Queue:
    """What reached the queue."""

    def __init__(self) -> None:
        self.messages: list[aio_pika.abc.AbstractIncomingMessage] = []

    async def take(self, message: aio_pika.abc.AbstractIncomingMessage) -> None:
        """Keep one."""
        self.messages.append(message)

    def events(self) -> list[tuple[UUID, int, int]]:
        """Session, predecessor, sequence of each event that came."""
        bundles = [decode_bundle(one.body) for one in self.messages if one.type == BUNDLE]
        found: list[tuple[UUID, int, int]] = []
        for one in (one for bundle in bundles for one in bundle):
            event = decode_event(one.json)
            found.append((event.session_id, one.predecessor, event.session_sequence))
        return found


@pytest.fixture
async def queue(broker: str) -> AsyncIterator[Queue]:
    """The queue of a rebuild."""
    async with await aio_pika.connect(broker) as connection:
        channel = await connection.channel()
        declared = await channel.declare_queue(QUEUE, exclusive=True)
        made = Queue()
        await declared.consume(made.take)
        yield made


async def test_a_partition_is_replayed_in_order_and_then_said_to_be_complete(
    replays: Replays, queue: Queue
) -> None:
    command = partition_command()
    await replays.replay_partition(command)
    await eventually(
        lambda: queue.messages[-1:] and queue.messages[-1].type == PARTITION_REPLAYED,
        what="the replay is complete",
    )
    last = decode_partition_replayed(queue.messages[-1].body)
    assert (last.command_id, last.partition) == (command.id, PARTITION)
    events = queue.events()
    for session_id, count in ((ONE, 451), (TWO, 2)):
        of_session = [(before, sequence) for one, before, sequence in events if one == session_id]
        assert of_session == [(n - 1, n) for n in range(1, count + 1)]
    assert 1 < len(queue.messages) - 1 <= 453 / BUNDLE_EVENTS + 2


async def test_a_partition_without_events_is_complete_at_once(
    store: EventStore, link: BrokerLink, queue: Queue
) -> None:
    await Replays(store, Outbox(link)).replay_partition(partition_command())
    await eventually(lambda: len(queue.messages) == 1, what="it says so")
    assert queue.messages[0].type == PARTITION_REPLAYED


async def test_a_session_is_replayed_from_a_sequence_over_what_was_removed(
    replays: Replays, queue: Queue, pool: "asyncpg.Pool[asyncpg.Record]"
) -> None:
    await pool.execute(
        "DELETE FROM events WHERE session_id = $1 AND session_sequence BETWEEN 5 AND 447", ONE
    )
    id_ = CommandId(uuid4())
    await replays.replay_session(
        ReplaySession(
            id=id_,
            session_id=ONE,
            correlation_id=id_,
            issued_at=now(),
            expires_at=now(),
            from_sequence=10,
            queue=QUEUE,
        )
    )
    await eventually(lambda: queue.messages, what="the replay")
    assert queue.events() == [(ONE, 4, 448), (ONE, 448, 449), (ONE, 449, 450), (ONE, 450, 451)]


async def test_a_replay_that_nobody_wants_any_more_ends(replays: Replays) -> None:
    async with asyncio.timeout(10):
        await replays.replay_partition(partition_command())
