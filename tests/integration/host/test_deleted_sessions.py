"""A deleted session costs nothing: no task, no place among the loaded ones; on a real Postgres."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any, cast
from uuid import UUID, uuid4

from tests.deadlines import eventually
from tests.integration.host.owner import Owner, now, queued, session_context
from tests.unit.host.host_bench import NothingKept
from wa_contracts.ids import CommandId, MessageId, SessionId, message_stream, session_stream
from wa_contracts.internal.commands import CreateSession, DeleteSession
from wa_contracts.session_events import SessionCreated, SessionDeleted, SessionStopped
from wa_session_host.partitions.partition import Partition, PartitionContext
from wa_session_host.partitions.session_commands import SessionCommands
from wa_session_host.publishing.outbox import Publication
from wa_session_host.store.event_store import EventStore

SESSION, OTHER = SessionId(UUID(int=9)), SessionId(UUID(int=10))
PARTITION = 1


class Outbox:
    """Confirms every event at once, and remembers the replies."""

    def __init__(self) -> None:
        self.replies: list[Any] = []

    def publish_event(self, _: object) -> Publication:
        """It is confirmed in the next turn of the loop."""
        confirm: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        confirm.set_result(None)
        return Publication([confirm])

    def raise_if_unconfirmed(self, _: object) -> None:
        """It is confirmed."""

    async def reply(self, command: object, **_: object) -> None:
        """Remember it."""
        self.replies.append(command)


@asynccontextmanager
async def held(owner: Owner, store: EventStore) -> AsyncIterator[Partition]:
    """A partition as its owner runs it."""
    context = PartitionContext(
        session=session_context(owner, store),
        outbox=cast("Any", Outbox()),
        retention=cast("Any", None),
        media_transfer=cast("Any", None),
        media_keeping=cast("Any", NothingKept()),
        queue_limit=100,
        queue_max_bytes=1000,
    )
    partition = Partition(owner.claims[PARTITION], context)
    await partition.load()
    ready = asyncio.Event()
    running = asyncio.create_task(partition.run(ready))
    try:
        await asyncio.wait_for(ready.wait(), 30)
        yield partition
    finally:
        running.cancel()
        await asyncio.wait([running])


def command(kind: type[DeleteSession | CreateSession]) -> Any:
    """An operator's command."""
    return kind(
        id=CommandId(uuid4()),
        session_id=SESSION,
        correlation_id=uuid4(),
        issued_at=now(),
        expires_at=now() + timedelta(hours=1),
    )


async def _stopped_sessions(owner: Owner) -> None:
    for one in (SESSION, OTHER):
        await owner.append(one, session_stream(one), 0, SessionCreated(), SessionStopped())


async def test_a_deleted_session_fails_its_queue_and_is_gone(
    owner: Owner, store: EventStore
) -> None:
    await _stopped_sessions(owner)
    waiting = MessageId(uuid4())
    await owner.append(SESSION, message_stream(waiting), 0, queued(waiting))
    async with held(owner, store) as partition:
        tasks = len(asyncio.all_tasks())
        await SessionCommands(partition).handle_lifecycle(command(DeleteSession))
        await eventually(lambda: set(partition.sessions) == {OTHER}, what="it is gone from memory")
        last = (await store.stream(message_stream(waiting)))[-1]
        assert last.type == "message.failed"
        await eventually(lambda: len(asyncio.all_tasks()) < tasks, what="no task left")


async def test_a_deleted_session_is_not_loaded_and_not_created_again(
    owner: Owner, store: EventStore
) -> None:
    await _stopped_sessions(owner)
    await owner.append(SESSION, session_stream(SESSION), 2, SessionDeleted())
    async with held(owner, store) as partition:
        assert set(partition.sessions) == {OTHER}
        await SessionCommands(partition).handle_lifecycle(create := command(CreateSession))
        assert set(partition.sessions) == {OTHER}
        assert cast("Any", partition.context.outbox).replies == [create]
    assert len(await store.stream(session_stream(SESSION))) == 3


async def test_a_new_owner_fails_the_queue_of_a_deleted_session(
    owner: Owner, store: EventStore
) -> None:
    """The former owner ended between the session's end and its queue's."""
    await _stopped_sessions(owner)
    waiting = MessageId(uuid4())
    await owner.append(SESSION, message_stream(waiting), 0, queued(waiting))
    await owner.append(SESSION, session_stream(SESSION), 2, SessionDeleted())
    async with held(owner, store) as partition:
        await eventually(lambda: set(partition.sessions) == {OTHER}, what="it is gone")
    [_, failed] = await store.stream(message_stream(waiting))
    assert (failed.type, failed.session_sequence) == ("message.failed", 5)
