"""A relay keeps a bounded number of events in memory and reads the others from the store."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from weakref import WeakSet

import pytest

from tests.deadlines import eventually
from wa_session_host.publishing import relay as relay_module
from wa_session_host.publishing.outbox import NotConfirmed, Publication
from wa_session_host.publishing.relay import KEPT_EVENTS, PAGE, Relay


@pytest.fixture(autouse=True)
def _quick_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relay_module, "RETRY_SECONDS", 0)


class Event:
    """A stored event; each third one is internal."""

    reply_to = None
    traceparent = None
    type = "message.received"
    occurred_at = None

    def __init__(self, position: int, size: int = 2) -> None:
        self.position = position
        self.session_sequence = None if position % 3 == 0 else position
        self.data_json = " " * size


class Store:
    """Holds the positions of all events; each read makes new objects."""

    def __init__(self, size: int = 2) -> None:
        self.last = 0
        self.reads = 0
        self.alive: WeakSet[Event] = WeakSet()
        self._size = size

    def append(self, number: int) -> list[Any]:
        """Store so many events."""
        self.last += number
        return self._events(range(self.last - number + 1, self.last + 1))

    async def read(self, after: int, limit: int) -> list[Any]:
        """A page."""
        self.reads += 1
        await asyncio.sleep(0)
        return self._events(range(after + 1, min(after + limit, self.last) + 1))

    def _events(self, positions: range) -> list[Any]:
        events = [Event(position, self._size) for position in positions]
        self.alive.update(events)
        return events


class Broker:
    """Confirms each event in the next turn, while it is not away."""

    def __init__(self) -> None:
        self.is_back = asyncio.Event()
        self.is_back.set()
        self.published: list[int] = []

    def publish_event(self, stored: Any) -> Publication:
        """Confirm it, or fail."""
        if not self.is_back.is_set():
            raise NotConfirmed("away")
        self.published.append(stored.position)
        confirm: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_soon(confirm.set_result, None)
        return Publication([confirm])

    def raise_if_unconfirmed(self, _: object) -> None:
        """It is confirmed."""

    async def wait_writable(self) -> None:
        """Wait until it is back."""
        await self.is_back.wait()


@asynccontextmanager
async def running(broker: Any, store: Store, relayed: int = 0) -> AsyncIterator[Relay]:
    """A relay, until the block ends."""
    relay = Relay(broker, relayed, store.read)
    task = asyncio.create_task(relay.run())
    try:
        yield relay
    finally:
        task.cancel()
        await asyncio.wait([task])


async def all_relayed(relay: Relay, store: Store) -> None:
    """Wait until the checkpoint is at the last event."""
    await eventually(lambda: relay.relayed_position == store.last, what="all relayed")


def public(last: int, after: int = 0) -> list[int]:
    """The positions that are published."""
    return [position for position in range(after + 1, last + 1) if position % 3]


async def test_an_outage_of_the_broker_fills_no_memory_and_loses_nothing() -> None:
    broker, store = Broker(), Store()
    broker.is_back.clear()
    async with running(broker, store) as relay:
        for _ in range(500):
            relay.enqueue(store.append(20))
            await asyncio.sleep(0)
        assert len(store.alive) <= KEPT_EVENTS + 2 * 20
        assert relay.backlog == store.last
        broker.is_back.set()
        await all_relayed(relay, store)
        await asyncio.wait_for(relay.wait_flushed(), 30)
        await asyncio.wait_for(relay.wait_for_room(), 30)
    assert broker.published == public(store.last)
    assert relay.backlog == 0
    assert store.reads > 40


async def test_large_events_fill_no_memory() -> None:
    broker, store = Broker(), Store(size=64 * 1024)
    broker.is_back.clear()
    async with running(broker, store) as relay:
        for _ in range(200):
            relay.enqueue(store.append(1))
        await asyncio.sleep(0)
        assert len(store.alive) < 20
        broker.is_back.set()
        await all_relayed(relay, store)
    assert broker.published == public(store.last)


async def test_a_new_owner_reads_what_was_left_in_pages() -> None:
    broker, store = Broker(), Store()
    store.append(10_000)
    broker.is_back.clear()
    async with running(broker, store, relayed=100) as relay:
        relay.continue_from_store(store.last, store.last - 100)
        await eventually(lambda: store.reads > 0, what="a read")
        assert relay.backlog == 9_900
        assert len(store.alive) <= 2 * PAGE
        relay.enqueue(store.append(1))
        broker.is_back.set()
        await asyncio.wait_for(relay.wait_flushed(), 60)
        await all_relayed(relay, store)
    assert broker.published == public(store.last, after=100)


@pytest.mark.parametrize("seed", range(10))
async def test_events_stored_meanwhile_are_published_once_and_in_order(seed: int) -> None:
    """Also those that are stored, but not enqueued yet, when a page is read."""
    chance = random.Random(seed)
    broker, store = Broker(), Store()
    broker.is_back.clear()
    async with running(broker, store) as relay:
        for number in range(300):
            if number == 100:
                broker.is_back.set()
            stored = store.append(chance.randrange(1, 40))
            for _ in range(chance.randrange(4)):
                await asyncio.sleep(0)
            relay.enqueue(stored)
        await all_relayed(relay, store)
    assert broker.published == public(store.last)


@pytest.mark.parametrize("seed", range(5))
async def test_outages_repeat_events_and_lose_none(seed: int) -> None:
    """What was in flight when the broker went away is published again, in order."""
    chance = random.Random(seed)
    broker, store = Broker(), Store()
    async with running(broker, store) as relay:
        for _ in range(300):
            stored = store.append(chance.randrange(1, 40))
            await asyncio.sleep(0)
            relay.enqueue(stored)
            if chance.random() < 0.1:
                broker.is_back.clear()
            elif chance.random() < 0.1:
                broker.is_back.set()
        broker.is_back.set()
        await all_relayed(relay, store)
    assert list(dict.fromkeys(broker.published)) == public(store.last)
