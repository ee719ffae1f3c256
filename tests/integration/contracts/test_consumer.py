"""The consumer library, on a real RabbitMQ, with events that look like the relay's."""

import asyncio
from contextlib import aclosing
from datetime import UTC, datetime
from typing import Any, cast
from urllib.parse import unquote, urlsplit

import aio_pika
import pytest

from deploy.servers.factory import RabbitMQServer
from tests.deadlines import eventually
from tests.integration.contracts.consuming import (
    OTHER,
    SESSION,
    Publisher,
    Reader,
    binary,
    bound,
    envelope,
    first_event_of,
    sent,
)
from tests.proxy import proxy_to
from tests.queues import is_consumed
from wa_contracts.consumer import SubscriptionRefused, subscribe
from wa_contracts.message_events import MessageSent
from wa_contracts.session_events import SessionStopped
from wa_contracts.topology import EVENTS, event_key


async def test_events_come_typed_and_only_those_asked_for(publisher: Publisher) -> None:
    reader = Reader(subscribe(publisher.url, "message.sent", session=str(SESSION), queue="typed"))
    await bound(publisher, "typed")
    stopped = envelope(2, SESSION, "session-x", SessionStopped(), datetime.now(UTC))
    await publisher.publish(sent(1), stopped, sent(1, OTHER), sent(3))
    assert await reader.until(2) == [1, 3]
    assert isinstance(reader.events[0].data, MessageSent)
    await reader.stop()


async def test_a_worker_that_dies_over_an_event_gets_it_again_and_misses_nothing(
    publisher: Publisher,
) -> None:
    taken: list[int] = []

    async def work() -> None:
        async for event in subscribe(publisher.url, "message.sent", queue="killed"):
            taken.append(event.session_sequence)
            if event.session_sequence == 2:
                await asyncio.Event().wait()

    dying = asyncio.create_task(work())
    await bound(publisher, "killed")
    await publisher.publish(sent(1), sent(2))
    await eventually(lambda: taken == [1, 2], what="two events")
    dying.cancel()
    await asyncio.wait([dying])
    await publisher.publish(sent(3))
    second = Reader(subscribe(publisher.url, "message.sent", queue="killed"))
    assert sorted(await second.until(2)) == [2, 3]
    await second.stop()


async def test_two_workers_share_a_queue(publisher: Publisher) -> None:
    one, two = (
        Reader(subscribe(publisher.url, "message.sent", queue="shared", shared=True, prefetch=1))
        for _ in range(2)
    )
    await bound(publisher, "shared")
    await publisher.publish(*(sent(n) for n in range(1, 101)))
    await eventually(lambda: len(one.events) + len(two.events) == 100, what="100 events in all")
    assert one.events
    assert two.events
    assert {e.session_sequence for e in one.events + two.events} == set(range(1, 101))
    await one.stop()
    await two.stop()


async def test_a_lost_connection_that_the_broker_still_holds_changes_no_order(
    publisher: Publisher, rabbitmq: RabbitMQServer
) -> None:
    """As with a pulled cable: the broker assigns events to the connection that is gone."""
    async with proxy_to(publisher.url) as (proxy, url):
        reader = Reader(subscribe(url, "message.sent", queue="stranded", prefetch=5))
        await bound(publisher, "stranded")
        proxy.strand()
        await publisher.publish(*(sent(n) for n in range(1, 11)))

        vhost = unquote(urlsplit(publisher.url).path.removeprefix("/"))

        async def connected_again() -> bool:
            consumers = await rabbitmq.evaluate(
                f"{{ok, Q}} = rabbit_amqqueue:lookup(rabbit_misc:r({binary(vhost)}, queue,"
                f" {binary('stranded')})), length(rabbit_amqqueue:consumers(Q))."
            )
            return consumers.strip() == "2"  # those that stand by are counted

        await eventually(connected_again, what="the reader's second connection")
        proxy.forget_stranded()
        assert await reader.until(10) == list(range(1, 11))
        await reader.stop()


async def test_a_queue_of_an_earlier_version_goes_on_working(
    publisher: Publisher, caplog: pytest.LogCaptureFixture
) -> None:
    dead = await publisher.channel.declare_queue(
        "earlier.dead-letters",
        durable=True,
        arguments={
            "x-queue-type": "quorum",
            "x-max-length": 10_000,
            "x-max-length-bytes": 100_000_000,
            "x-message-ttl": 2_592_000_000,
        },
    )
    queue = await publisher.channel.declare_queue(
        "earlier",
        durable=True,
        arguments={
            "x-queue-type": "quorum",
            "x-delivery-limit": 20,
            "x-max-length": 1_000_000,
            "x-max-length-bytes": 1_000_000_000,
            "x-expires": 604_800_000,
            "x-dead-letter-exchange": "",
            "x-dead-letter-routing-key": "earlier.dead-letters",
        },
    )
    await queue.bind(EVENTS, "v1.*.message.sent")
    await publisher.publish(sent(1))
    reader = Reader(subscribe(publisher.url, "message.sent", queue="earlier"))
    assert await reader.until(1) == [1]
    assert "queue earlier is of an earlier version" in caplog.text
    exchange = await publisher.channel.get_exchange(EVENTS, ensure=False)
    await exchange.publish(aio_pika.Message(b"not json"), event_key(SESSION, "message.sent"))

    async def letter() -> bool:
        return await dead.get(fail=False) is not None

    await eventually(letter, what="the dead letter")
    await reader.stop()


async def test_a_refused_password_is_an_error(publisher: Publisher) -> None:
    address = urlsplit(publisher.url)
    url = address._replace(netloc=f"guest:wrong@{address.hostname}:{address.port}").geturl()
    with pytest.raises(SubscriptionRefused, match="user or its password"):
        await first_event_of(subscribe(url, "message.sent", queue="refused"))


async def test_a_queue_with_other_arguments_is_an_error(publisher: Publisher) -> None:
    await publisher.channel.declare_queue("differs", durable=True)
    with pytest.raises(SubscriptionRefused, match=r"'differs'.*other arguments"):
        await first_event_of(subscribe(publisher.url, "message.sent", queue="differs"))


async def test_an_event_is_given_back_without_an_error_when_the_connection_is_lost(
    publisher: Publisher,
) -> None:
    taken: list[int] = []
    async with proxy_to(publisher.url) as (proxy, url):
        subscription = subscribe(url, "message.sent", queue="given-back")

        async def work() -> None:
            async for event in subscription:
                taken.append(event.session_sequence)
                if len(taken) == 1:
                    proxy.cut()
                    await lost.wait()
                    await subscription.nack()

        lost = asyncio.Event()
        working = asyncio.create_task(work())
        await bound(publisher, "given-back")
        await publisher.publish(sent(1))
        await eventually(lambda: taken == [1], what="the event")

        async def unconsumed() -> bool:
            return not await is_consumed(publisher.url, "given-back")

        await eventually(unconsumed, what="the broker lost the consumer")
        lost.set()
        await eventually(lambda: taken == [1, 1], what="the event again")
        working.cancel()
        await asyncio.wait([working])


async def test_duplicates_are_passed_over(publisher: Publisher) -> None:
    reader = Reader(subscribe(publisher.url, "message.sent", queue="twice"))
    await bound(publisher, "twice")
    again = sent(2)
    await publisher.publish(sent(1), again, again, sent(3))
    assert await reader.until(3) == [1, 2, 3]
    await reader.stop()


async def test_an_event_whose_body_raised_comes_again(publisher: Publisher) -> None:
    """The program keeps its subscription, on which it calls reject(), and iterates anew."""
    subscription = subscribe(publisher.url, "message.sent", queue="raised")
    seen: list[int] = []

    async def work(*, fails: bool) -> None:
        async with aclosing(cast("Any", aiter(subscription))) as events:
            async for event in events:
                seen.append(event.session_sequence)
                if fails:
                    raise RuntimeError("the program's own error")

    first = asyncio.create_task(work(fails=True))
    await bound(publisher, "raised")
    await publisher.publish(sent(1))
    with pytest.raises(RuntimeError):
        await asyncio.wait_for(first, 15)
    second = asyncio.create_task(work(fails=False))
    await eventually(lambda: seen == [1, 1], what="the event again")
    second.cancel()
    await asyncio.wait([second])


async def test_what_is_no_event_goes_to_the_dead_letters_and_harms_no_other(
    publisher: Publisher,
) -> None:
    reader = Reader(subscribe(publisher.url, "message.sent", queue="broken"))
    await bound(publisher, "broken")
    exchange = await publisher.channel.get_exchange(EVENTS, ensure=False)
    await exchange.publish(aio_pika.Message(b"not json"), event_key(SESSION, "message.sent"))
    await publisher.publish(sent(1))
    assert await reader.until(1) == [1]
    dead = await publisher.channel.get_queue("broken.dead-letters")

    async def letter() -> bool:
        message = await dead.get(fail=False)
        return message is not None and message.body == b"not json"

    await eventually(letter, what="the dead letter")
    await reader.stop()


async def test_the_body_may_reject_or_put_back(publisher: Publisher) -> None:
    subscription = subscribe(publisher.url, "message.sent", queue="settled")
    taken: list[int] = []

    async def work() -> None:
        async for event in subscription:
            taken.append(event.session_sequence)
            if event.session_sequence == 1 and taken.count(1) == 1:
                await subscription.nack()
            elif event.session_sequence == 2:
                await subscription.reject()

    working = asyncio.create_task(work())
    await bound(publisher, "settled")
    await publisher.publish(sent(1), sent(2))
    await eventually(lambda: taken.count(1) == 2, what="the event came again")
    dead = await publisher.channel.get_queue("settled.dead-letters")

    async def letter() -> bool:
        return await dead.get(fail=False) is not None

    await eventually(letter, what="the rejected event")
    working.cancel()
    await asyncio.wait([working])


async def test_an_event_that_does_not_exist_is_said_at_once() -> None:
    with pytest.raises(ValueError, match=r"message\.vanished"):
        subscribe("amqp://127.0.0.1/", "message.vanished")


async def test_a_time_without_a_zone_is_said_at_once() -> None:
    with pytest.raises(ValueError, match="time zone"):
        subscribe("amqp://127.0.0.1/", since=datetime(2026, 1, 2))  # noqa: DTZ001 - the very fault
