"""Consumers that begin in the past, by the log of events."""

import asyncio
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from tests.deadlines import eventually
from tests.integration.contracts.consuming import (
    OTHER,
    Publisher,
    Reader,
    bound,
    sent,
)
from tests.queues import is_consumed
from wa_contracts.consumer import Subscription, subscribe
from wa_contracts.consumer import queue as consumer_queue
from wa_contracts.ids import SessionId


async def test_a_consumer_that_starts_late_gets_everything_since_then(
    publisher: Publisher,
) -> None:
    late = SessionId(uuid4())
    past = datetime.now(UTC) - timedelta(hours=1)
    await publisher.publish(
        sent(1, late, at=past - timedelta(hours=1)),
        *(sent(n, late, at=past + timedelta(minutes=n)) for n in range(2, 50)),
        *(sent(n, OTHER) for n in range(1, 20)),
    )
    reader = Reader(
        subscribe(publisher.url, "message.sent", session=str(late), queue="late", since=past)
    )
    await reader.until(40)
    await publisher.publish(*(sent(n, late) for n in range(50, 60)))
    assert await reader.until(58) == list(range(2, 60))
    await reader.stop()


async def test_killed_in_the_past_it_begins_the_past_again(publisher: Publisher) -> None:
    session, since = SessionId(uuid4()), datetime.now(UTC)
    await publisher.publish(*(sent(n, session) for n in range(1, 11)))
    taken: list[int] = []

    def again() -> Subscription:
        return subscribe(
            publisher.url, "message.sent", session=str(session), queue="past", since=since
        )

    async def work() -> None:
        async for event in again():
            taken.append(event.session_sequence)
            if event.session_sequence == 3:
                await asyncio.Event().wait()

    dying = asyncio.create_task(work())
    await eventually(lambda: taken == [1, 2, 3], what="three events")
    dying.cancel()
    await asyncio.wait([dying])
    await publisher.publish(sent(11, session))
    second = Reader(again())
    assert await second.until(11) == list(range(1, 12))
    await bound(publisher, "past")  # it has read the past to its end
    await second.stop()
    await publisher.publish(sent(12, session))
    third = Reader(again())
    await eventually(lambda: third.events, what="what happened since")
    assert min(event.session_sequence for event in third.events) >= 11
    await third.stop()


async def test_one_of_two_workers_reads_the_past(publisher: Publisher) -> None:
    session, since = SessionId(uuid4()), datetime.now(UTC)
    await publisher.publish(*(sent(n, session) for n in range(1, 31)))

    def worker() -> Reader:
        return Reader(
            subscribe(publisher.url, "message.sent", session=str(session), queue="two", since=since)
        )

    workers = [worker()]
    await eventually(lambda: is_consumed(publisher.url, "two.past"), what="the past is being read")
    workers.append(worker())
    await eventually(lambda: sum(len(one.events) for one in workers) >= 30, what="30 events")
    await bound(publisher, "two")
    await publisher.publish(sent(31, session))
    await eventually(lambda: sum(len(one.events) for one in workers) >= 31, what="the present")
    sequences = sorted(e.session_sequence for one in workers for e in one.events)
    assert sequences == list(range(1, 32))
    for one in workers:
        await one.stop()


async def test_an_absent_consumer_does_not_fill_the_broker(
    publisher: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consumer_queue, "QUEUE_MAX_LENGTH", 10)
    monkeypatch.setattr(consumer_queue, "DEAD_LETTERS_MAX_LENGTH", 5)
    reader = Reader(subscribe(publisher.url, "message.sent", queue="absent"))
    await bound(publisher, "absent")
    await reader.stop()
    await publisher.publish(*(sent(n) for n in range(1, 101)))

    async def kept() -> bool:
        found = await publisher.channel.declare_queue("absent", passive=True)
        dead = await publisher.channel.declare_queue("absent.dead-letters", passive=True)
        counts = (found.declaration_result.message_count, dead.declaration_result.message_count)
        assert counts == (10, 5), counts
        return True

    await eventually(kept, what="the newest are kept, and few of the others")
    again = Reader(subscribe(publisher.url, "message.sent", queue="absent"))
    assert await again.until(10) == list(range(91, 101))
    await again.stop()
