"""A queue holds no content: it is read from the store before the send; on a real Postgres."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import timedelta
from types import SimpleNamespace
from typing import Any, cast
from uuid import UUID, uuid4

import pytest

from tests.deadlines import eventually
from tests.integration.host.owner import Owner, now, session_context
from wa_contracts.ids import CommandId, MessageId, SessionId, message_stream, session_stream
from wa_contracts.internal.commands import MessageType, SendMessage
from wa_contracts.message_events import MessageFailed, MessageQueued
from wa_contracts.session_events import SessionCreated, SessionDisconnected
from wa_session_host.engine.port import Acknowledged, OutgoingMessage
from wa_session_host.partitions.message_commands import MessageCommands
from wa_session_host.partitions.partition import Partition, PartitionContext
from wa_session_host.sessions.runner import Runner
from wa_session_host.store.event_store import EventStore

SESSION = SessionId(UUID(int=9))
PARTITION = 1
SECRET = "A text that is long enough to be seen in memory."


class Engine:
    """Acknowledges all, and remembers it."""

    def __init__(self) -> None:
        self.sent: list[OutgoingMessage] = []

    async def send(self, message: OutgoingMessage) -> Acknowledged:
        """Acknowledge it."""
        self.sent.append(message)
        return Acknowledged(f"3EB0{len(self.sent)}", now())


def command(text: str = SECRET, *, media: bool = False) -> SendMessage:
    """A text, or a document with a caption."""
    id_ = uuid4()
    return SendMessage(
        id=CommandId(id_),
        session_id=SESSION,
        correlation_id=id_,
        issued_at=now(),
        expires_at=now() + timedelta(hours=1),
        message_id=MessageId(id_),
        to="919876543210",
        message_type=MessageType.DOCUMENT if media else MessageType.TEXT,
        text=text,
        media_url=f"https://example.org/{SECRET}" if media else None,
        file_name=f"{SECRET}.pdf" if media else None,
        fingerprint="a fingerprint",
    )


async def loaded(owner: Owner, store: EventStore, *, max_bytes: int = 10_000) -> Partition:
    """A partition as a new owner loads it."""
    context = PartitionContext(
        session=session_context(owner, store),
        outbox=cast("Any", SimpleNamespace()),
        retention=cast("Any", None),
        media_transfer=cast("Any", None),
        media_keeping=cast("Any", None),
        queue_limit=100,
        queue_max_bytes=max_bytes,
    )
    partition = Partition(owner.claims[PARTITION], context)
    await partition.load()
    return partition


@pytest.fixture
async def session(owner: Owner) -> None:
    """A session that waits for its connection: its messages are queued."""
    lost = SessionDisconnected(reason="connection_lost", message="")
    await owner.append(SESSION, session_stream(SESSION), 0, SessionCreated(), lost)


@pytest.fixture
async def running() -> AsyncIterator[list[asyncio.Task[None]]]:
    """Tasks to end with the test."""
    tasks: list[asyncio.Task[None]] = []
    yield tasks
    for task in tasks:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


def runner_of(partition: Partition) -> Runner:
    """The session's queue."""
    found = partition.owner(SESSION)
    assert found is not None
    return found.runner


@pytest.mark.usefixtures("session")
async def test_a_queue_that_was_loaded_holds_no_content_and_sends_it(
    owner: Owner, store: EventStore, running: list[asyncio.Task[None]]
) -> None:
    sent = [command(f"{SECRET} {number}") for number in range(3)]
    former = await loaded(owner, store)
    for one in sent:
        await MessageCommands(former).handle_send(one)
    runner = runner_of(await loaded(owner, store))
    assert len(runner) == 3
    for one in sent:
        message = runner.open_message(one.message_id)
        assert message is not None
        assert SECRET not in repr(message)
        assert message.facts.fingerprint == "a fingerprint"
        assert message.content_bytes == len(f"{SECRET} 0")
    assert runner.content_bytes == runner_of(former).content_bytes == 3 * len(f"{SECRET} 0")
    engine = Engine()
    running.append(asyncio.create_task(runner.run()))
    runner.resume(cast("Any", engine))
    await eventually(lambda: len(engine.sent) == 3, what="all are sent")
    assert [one.text for one in engine.sent] == [one.text for one in sent]
    await eventually(lambda: runner.content_bytes == 0, what="the queue is empty")


@pytest.mark.usefixtures("session")
async def test_addresses_and_names_of_media_are_content_too(
    owner: Owner, store: EventStore
) -> None:
    sent = command(media=True)
    former = await loaded(owner, store)
    await MessageCommands(former).handle_send(sent)
    runner = runner_of(await loaded(owner, store))
    message = runner.open_message(sent.message_id)
    assert message is not None
    [(events, _)] = [one async for one in store.open_messages(PARTITION)]
    assert SECRET not in str(events)
    assert message.content_bytes == runner_of(former).content_bytes > 3 * len(SECRET)
    content = await store.content(message.stream)
    assert (content.media_url, content.file_name) == (sent.media_url, sent.file_name)


@pytest.mark.usefixtures("session")
async def test_a_queue_is_full_by_its_bytes_too(owner: Owner, store: EventStore) -> None:
    partition = await loaded(owner, store, max_bytes=2 * len(SECRET))
    commands = [command() for _ in range(3)]
    for one in commands:
        await MessageCommands(partition).handle_send(one)
    stored = [(await store.stream(message_stream(one.message_id)))[0].event for one in commands]
    assert [type(one) for one in stored] == [MessageQueued, MessageQueued, MessageFailed]
    assert isinstance(stored[2], MessageFailed)
    assert stored[2].error.code == "queue_full"
    assert "by size" in stored[2].error.message
    await runner_of(partition).cancel(commands[0].message_id, uuid4(), None)
    await MessageCommands(partition).handle_send(again := command())
    [queued] = await store.stream(message_stream(again.message_id))
    assert queued.type == MessageQueued.TYPE
