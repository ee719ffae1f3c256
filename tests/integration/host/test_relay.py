"""The relay sends again what was not confirmed, in order, and marks no further than what was."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID, uuid4

import pytest

from tests.deadlines import eventually, turns
from tests.integration.host.owner import Owner, queued
from tests.unit.host.test_partition_phases import nothing_stored
from wa_contracts.ids import MessageId, SessionId, message_stream
from wa_runtime.channel_writer import Confirm
from wa_session_host.publishing import relay as relay_module
from wa_session_host.publishing.outbox import NotConfirmed, Publication
from wa_session_host.publishing.relay import Relay
from wa_session_host.store.stored_event import StoredEvent

SESSION = SessionId(UUID(int=1))


class _Broker:
    """Takes each event twice, as the broker's exchange and the projector's queue do."""

    def __init__(self) -> None:
        self.is_away = False
        self.sent: list[int] = []
        self.checked = 0
        self.confirms: list[tuple[Confirm, Confirm]] = []

    def publish_event(self, stored: StoredEvent) -> Publication:
        if self.is_away:
            raise NotConfirmed("away")
        loop = asyncio.get_running_loop()
        self.sent.append(stored.position)
        self.confirms.append((loop.create_future(), loop.create_future()))
        return Publication(self.confirms[-1])

    def raise_if_unconfirmed(self, publication: Publication) -> None:
        self.checked += 1
        for confirm in publication.confirms:
            if confirm.exception() is not None:
                raise NotConfirmed("lost")

    async def wait_writable(self) -> None:
        """It is back."""
        self.is_away = False


@asynccontextmanager
async def running(relay: Relay) -> AsyncIterator[None]:
    """The relay publishes during the block."""
    task = asyncio.create_task(relay.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])


@pytest.fixture
async def events(owner: Owner) -> Sequence[StoredEvent]:
    ids = [MessageId(uuid4()) for _ in range(3)]
    appends = [owner.append(SESSION, message_stream(one), 0, queued(one)) for one in ids]
    return [stored for [stored] in await asyncio.gather(*appends)]


@pytest.mark.parametrize("lost", [0, 1])
async def test_an_event_is_published_when_both_have_it(
    events: Sequence[StoredEvent], lost: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relay_module, "RETRY_SECONDS", 0)
    broker: Any = _Broker()
    relay = Relay(broker, 0, nothing_stored)
    first, second, third = (one.position for one in events)
    async with running(relay):
        broker.is_away = True
        relay.enqueue(list(events))
        await eventually(lambda: broker.sent == [first, second, third], what="sent")
        for confirm in broker.confirms[0]:
            confirm.set_result(None)
        await eventually(lambda: relay.relayed_position == first, what="marked")
        broker.confirms[1][lost].set_exception(ConnectionError())
        broker.confirms[1][1 - lost].set_result(None)
        for confirm in broker.confirms[2]:
            confirm.set_result(None)
        await eventually(lambda: broker.sent[3:] == [second, third], what="the rest is sent again")
        assert relay.relayed_position == first
        for confirms in broker.confirms[3:]:
            for confirm in confirms:
                confirm.set_result(None)
        async with asyncio.timeout(5):
            await relay.wait_flushed()
        assert relay.relayed_position == third


async def test_what_a_request_waits_for_is_sent_at_once_with_all_before_it(
    events: Sequence[StoredEvent], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relay_module, "GATHER_SECONDS", 60)
    broker: Any = _Broker()
    relay = Relay(broker, 0, nothing_stored)
    first, second, third = events
    relay.enqueue([first._replace(reply_to="before it runs")])
    assert broker.sent == []
    async with running(relay):
        await eventually(lambda: broker.sent == [first.position], what="sent")
        relay.enqueue([second])
        await turns()
        assert broker.sent == [first.position]
        relay.enqueue([third._replace(reply_to="somebody")])
        assert broker.sent == [one.position for one in events]
        for confirm in broker.confirms[0]:
            confirm.set_result(None)
        await eventually(
            lambda: relay.relayed_position == first.position, what="woken, timer and all"
        )
        monkeypatch.setattr(relay_module, "GATHER_SECONDS", 0)
        relay.enqueue([first])
        await eventually(lambda: len(broker.sent) == 4, what="sent without a request")


async def test_what_is_offered_while_the_rest_is_sent_again_waits_for_its_turn(
    events: Sequence[StoredEvent], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relay_module, "RETRY_SECONDS", 0)
    broker: Any = _Broker()
    relay = Relay(broker, 0, nothing_stored)
    first, second, third = events
    async with running(relay):
        relay.enqueue([first, second])
        await eventually(lambda: len(broker.sent) == 2, what="sent")
        for confirm in broker.confirms[0]:
            confirm.set_exception(ConnectionError())
        await eventually(lambda: broker.checked == 1, what="it knows of the first one")
        relay.enqueue([third._replace(reply_to="somebody")])
        assert len(broker.sent) == 2
        for confirm in broker.confirms[1]:
            confirm.set_result(None)
        await eventually(
            lambda: broker.sent[2:] == [one.position for one in events], what="all again"
        )
