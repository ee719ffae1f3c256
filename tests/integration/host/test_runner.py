"""The queue of one session: what has begun is ended before the session goes to another host."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from datetime import timedelta
from itertools import pairwise
from typing import Any, cast
from uuid import UUID, uuid4

import pytest

from tests.deadlines import eventually
from tests.integration.host.owner import Owner, now, queued, session_context
from wa_contracts.ids import MessageId, SessionId, message_stream
from wa_session_host.domain import message as domain
from wa_session_host.domain.message import Facts, MessageSendStarted, Queued, Sending
from wa_session_host.domain.observations import LinkedDevice
from wa_session_host.domain.pacing import Pace, PaceRule, SendHistory
from wa_session_host.engine.simulated.engine import Script, SimulatedEngine
from wa_session_host.sessions.open_message import OpenMessage
from wa_session_host.sessions.runner import Runner
from wa_session_host.store.event_store import EventStore
from wa_session_host.store.stored_event import message_state

SESSION = SessionId(UUID(int=1))
LINK = LinkedDevice("15550001111:1@s.whatsapp.net", "15550001111")


def even(shortest: float, longest: float) -> float:
    """No jitter."""
    return (shortest + longest) / 2


async def nothing(*_: object) -> None:
    """Who hears of acks and of deaf connections."""


@pytest.fixture
async def runner(owner: Owner, store: EventStore) -> AsyncIterator[Runner]:
    """A running queue, whose session does not work yet."""
    made = Runner(
        SESSION,
        1,
        session_context(owner, store),
        pace=Pace(PaceRule(), SendHistory(0, None), clock=now, jitter=even),
        on_outcome=nothing,
        on_deaf=nothing,
        on_reachout=nothing,
    )
    running = asyncio.create_task(made.run())
    yield made
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running


@pytest.fixture
async def engine() -> AsyncIterator[SimulatedEngine]:
    """A linked engine."""
    made = SimulatedEngine(SESSION, LINK, Script())
    yield made
    await made.stop()


async def begun(owner: Owner) -> OpenMessage:
    """A text that was queued and begun in one append, as for an idle session."""
    event = queued(MessageId(uuid4()))
    stream = message_stream(event.id)
    stored = await owner.append(SESSION, stream, 0, event, MessageSendStarted(started_at=now()))
    state = message_state(stored)
    assert isinstance(state, Sending)
    return OpenMessage(state, stream, 2, stored[0].position, uuid4(), uuid4())


async def waiting(owner: Owner) -> OpenMessage:
    """A text that was queued behind others."""
    event = queued(MessageId(uuid4()))
    stream = message_stream(event.id)
    stored = await owner.append(SESSION, stream, 0, event)
    state = message_state(stored)
    assert isinstance(state, Queued)
    return OpenMessage(state, stream, 1, stored[0].position, uuid4(), uuid4())


async def state_of(store: EventStore, facts: Facts) -> domain.State:
    """The message as the store knows it."""
    return message_state(await store.stream(message_stream(facts.id)))


async def test_a_text_begun_while_the_drain_starts_is_sent_before_it_ends(
    owner: Owner, store: EventStore, runner: Runner, engine: SimulatedEngine
) -> None:
    runner.resume(engine)
    with runner.reserve() as is_idle:
        assert is_idle
        drain = asyncio.create_task(runner.drain())
        message = await begun(owner)  # its append ends after the drain has started
        assert not drain.done()
        runner.enqueue(message)
    await drain
    assert isinstance(await state_of(store, message.facts), domain.Sent)


async def test_a_draining_queue_begins_nothing_new(
    owner: Owner, store: EventStore, runner: Runner, engine: SimulatedEngine
) -> None:
    runner.resume(engine)
    await runner.drain()
    with runner.reserve() as is_idle:
        assert not is_idle
        message = await waiting(owner)
        runner.enqueue(message)
    await runner.drain()
    assert isinstance(await state_of(store, message.facts), domain.Queued)


async def test_what_has_begun_without_an_engine_is_said_not_to_have_gone_out(
    owner: Owner, store: EventStore, runner: Runner
) -> None:
    message = await begun(owner)
    runner.enqueue(message)

    async def deferred() -> bool:
        return isinstance(await state_of(store, message.facts), domain.Queued)

    await eventually(deferred, what="the message is queued again")


async def test_a_message_that_expires_or_is_cancelled_counts_as_open_until_its_end_is_stored(
    owner: Owner, runner: Runner
) -> None:
    """What a crash would leave open must not be behind the partition's mark."""
    first, second = await waiting(owner), await waiting(owner)
    for message in (first, second):
        runner.enqueue(message)
    cancelling = asyncio.create_task(runner.cancel(first.facts.id, uuid4(), None))
    expiring = asyncio.create_task(runner.expire(first.facts.expires_at + timedelta(seconds=1)))
    while not (cancelling.done() and expiring.done()):
        unstored = [one for one in (first, second) if one.version == 1]
        if unstored:
            assert runner.oldest_position is not None
            assert runner.oldest_position <= min(one.queued_position for one in unstored)
            assert all(runner.open_message(one.facts.id) is one for one in unstored)
        await asyncio.sleep(0)
    assert (len(runner), runner.oldest_position) == (0, None)


async def test_a_paced_session_waits_its_turn_and_keeps_the_order(
    owner: Owner, store: EventStore, runner: Runner, engine: SimulatedEngine
) -> None:
    runner.pace = Pace(PaceRule(per_minute=150), SendHistory(0, None), clock=now, jitter=even)
    runner.resume(engine)
    messages = [await waiting(owner) for _ in range(3)]
    for message in messages:
        runner.enqueue(message)
    with runner.reserve() as is_idle:
        assert not is_idle

    async def all_sent() -> bool:
        states = [await state_of(store, message.facts) for message in messages]
        return all(isinstance(state, domain.Sent) for state in states)

    await eventually(all_sent, what="all three are sent")
    times = [
        event.occurred_at
        for message in messages
        for event in await store.stream(message.stream)
        if event.type == "message.send_started"
    ]
    assert all(later - earlier >= timedelta(seconds=0.39) for earlier, later in pairwise(times))
    with runner.reserve() as is_idle:
        assert not is_idle  # a text that comes now must not begin at once


async def test_what_waits_for_its_turn_can_be_cancelled_and_expires(
    owner: Owner, store: EventStore, runner: Runner, engine: SimulatedEngine
) -> None:
    runner.pace = Pace(PaceRule(per_day=1), SendHistory(1, None), clock=now, jitter=even)
    runner.resume(engine)
    first, second = await waiting(owner), await waiting(owner)
    for message in (first, second):
        runner.enqueue(message)
    assert await runner.cancel(first.facts.id, uuid4(), None)
    await runner.expire(now() + timedelta(days=30))
    assert isinstance(await state_of(store, first.facts), domain.Cancelled)
    assert isinstance(await state_of(store, second.facts), domain.Failed)
    async with asyncio.timeout(1):
        await runner.drain()


class SlowMedia:
    """Media that takes longer than the message may wait."""

    def __init__(self) -> None:
        self.late = timedelta(0)

    @asynccontextmanager
    async def ready(self, *_: object) -> AsyncIterator[None]:
        """An hour passes."""
        self.late = timedelta(hours=2)
        yield None


async def test_a_message_that_expires_while_its_media_comes_is_not_sent(
    owner: Owner, store: EventStore, engine: SimulatedEngine
) -> None:
    media = SlowMedia()
    context = session_context(owner, store, clock=lambda: now() + media.late)
    runner = Runner(
        SESSION,
        1,
        replace(context, media=cast("Any", media)),
        pace=Pace(PaceRule(), SendHistory(0, None), clock=now, jitter=even),
        on_outcome=nothing,
        on_deaf=nothing,
        on_reachout=nothing,
    )
    running = asyncio.create_task(runner.run())
    runner.resume(engine)
    runner.enqueue(message := await waiting(owner))
    await eventually(lambda: len(runner) == 0, what="it has ended")
    types = [one.type for one in await store.stream(message.stream)]
    assert types == ["message.queued", "message.failed"]
    running.cancel()
    await asyncio.wait([running])


class HeldMedia:
    """Media that come when a test says so; `ended` counts the fetches that are over."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.come = asyncio.Event()
        self.ended = 0

    @asynccontextmanager
    async def ready(self, *_: object) -> AsyncIterator[None]:
        """The media, in time."""
        self.asked.set()
        try:
            await self.come.wait()
            yield None
        finally:
            self.ended += 1


@pytest.mark.parametrize("comes", [False, True], ids=["on its way", "just there"])
async def test_a_message_is_cancelled_while_its_media_comes_and_the_next_is_sent(
    owner: Owner, store: EventStore, engine: SimulatedEngine, comes: bool
) -> None:
    media = HeldMedia()
    runner = Runner(
        SESSION,
        1,
        replace(session_context(owner, store), media=cast("Any", media)),
        pace=Pace(PaceRule(), SendHistory(0, None), clock=now, jitter=even),
        on_outcome=nothing,
        on_deaf=nothing,
        on_reachout=nothing,
    )
    running = asyncio.create_task(runner.run())
    runner.resume(engine)
    first, second = await waiting(owner), await waiting(owner)
    runner.enqueue(first)
    await media.asked.wait()
    if comes:
        media.come.set()
    assert await runner.cancel(first.facts.id, uuid4(), None)
    assert [one.type for one in await store.stream(first.stream)] == [
        "message.queued",
        "message.cancelled",
    ]
    media.come.set()
    runner.enqueue(second)
    await eventually(lambda: len(runner) == 0, what="the next one has ended")
    assert isinstance(await state_of(store, second.facts), domain.Sent)
    assert isinstance(await state_of(store, first.facts), domain.Cancelled)
    assert media.ended == 2
    running.cancel()
    await asyncio.wait([running])


async def test_each_message_expires_in_its_own_time(
    owner: Owner, store: EventStore, runner: Runner
) -> None:
    late, soon = await waiting(owner), await waiting(owner)
    soon.state = Queued(soon.facts._replace(expires_at=now() + timedelta(seconds=5)))
    for message in (late, soon):
        runner.enqueue(message)
    await runner.expire(now())
    assert len(runner) == 2
    await runner.expire(now() + timedelta(seconds=6))
    assert isinstance(await state_of(store, soon.facts), domain.Failed)
    assert runner.open_message(late.facts.id) is late
    await runner.expire(late.facts.expires_at)
    assert isinstance(await state_of(store, late.facts), domain.Failed)
    assert (len(runner), runner.oldest_position) == (0, None)
