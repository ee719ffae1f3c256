"""The consumer library, on a real RabbitMQ, with events that look like the relay's."""

import asyncio
import re
import shlex
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, cast
from urllib.parse import unquote, urlsplit
from uuid import UUID, uuid4

import aio_pika
import pytest
from aio_pika.abc import AbstractChannel
from aiormq.exceptions import ChannelAccessRefused

from deploy.servers.factory import RabbitMQServer
from tests.deadlines import eventually
from tests.proxy import proxy_to
from tests.queues import is_consumed
from wa_contracts.codec import encode
from wa_contracts.consumer import Subscription, SubscriptionRefused, subscribe
from wa_contracts.consumer import queue as consumer_queue
from wa_contracts.envelope import Envelope
from wa_contracts.ids import EventId, MessageId, SessionId, message_stream
from wa_contracts.internal.commands import MessageType
from wa_contracts.message_events import MessageSent
from wa_contracts.session_events import SessionStopped
from wa_contracts.topology import EVENTS, event_key
from wa_runtime.topology_declaration import declare_topology

SESSION = SessionId(UUID(int=1))
OTHER = SessionId(UUID(int=2))


def sent(sequence: int, session_id: SessionId = SESSION, at: datetime | None = None) -> Envelope:
    """A sent message's event."""
    message_id = MessageId(uuid4())
    at = at or datetime.now(UTC)
    event = MessageSent(
        id=message_id,
        message_id=f"3EB0{sequence}",
        to="919876543210",
        type=MessageType.TEXT,
        sent_at=at,
    )
    return envelope(sequence, session_id, message_stream(message_id), event, at)


def envelope(
    sequence: int,
    session_id: SessionId,
    stream: str,
    event: MessageSent | SessionStopped,
    at: datetime,
) -> Envelope:
    """An event in its envelope."""
    return Envelope(
        id=EventId(uuid4()),
        type=event.TYPE,
        version=1,
        session_id=session_id,
        session_sequence=sequence,
        stream=stream,
        stream_version=1,
        occurred_at=at,
        correlation_id=uuid4(),
        causation_id=uuid4(),
        data=event,
    )


class Publisher:
    """Publishes as the relay does."""

    def __init__(self, url: str, channel: aio_pika.abc.AbstractChannel) -> None:
        self.url = url
        self.channel = channel

    async def publish(self, *events: Envelope) -> None:
        """To subscribers and log."""
        exchange = await self.channel.get_exchange(EVENTS, ensure=False)
        for event in events:
            await exchange.publish(
                aio_pika.Message(encode(event), type=event.type, timestamp=event.occurred_at),
                event_key(event.session_id, event.type),
            )


@pytest.fixture
async def publisher(broker: str) -> AsyncIterator[Publisher]:
    """A publisher on a vhost with the topology."""
    connection = await aio_pika.connect(broker)
    async with connection:
        await declare_topology(connection)
        yield Publisher(broker, await connection.channel())


class Reader:
    """Reads a subscription in a task of its own."""

    def __init__(self, subscription: Subscription) -> None:
        self.events: list[Envelope] = []
        self._task = asyncio.create_task(self._read(subscription))

    async def _read(self, subscription: Subscription) -> None:
        async for event in subscription:
            self.events.append(event)

    async def until(self, count: int) -> list[int]:
        """The sequences, once so many have come."""
        await eventually(lambda: len(self.events) >= count, what=f"{count} events have come")
        return [event.session_sequence for event in self.events]

    async def stop(self) -> None:
        """End it, as a killed process ends: without an acknowledgement of the last event."""
        self._task.cancel()
        await asyncio.wait([self._task])


async def bound(publisher: Publisher, queue: str) -> None:
    """Wait until a subscriber consumes from its queue, which is bound by then."""
    await eventually(lambda: is_consumed(publisher.url, queue), what=f"a consumer of {queue}")


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


async def first_event_of(subscription: Subscription) -> None:
    """Ask for one event, for at most 30 s."""
    async with asyncio.timeout(30):
        async for _ in subscription:
            return


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


async def test_the_documented_permissions_are_enough_and_no_more(
    publisher: Publisher, rabbitmq: RabbitMQServer
) -> None:
    """Those of docs/events.md, for a program whose queues begin with `my-app`."""
    documentation = (Path(__file__).parents[3] / "docs/events.md").read_text()
    [command] = re.findall(r"set_permissions [^`\n]*", documentation)
    configure, write, read = shlex.split(command)[-3:]
    [command] = re.findall(r"set_topic_permissions [^`\n]*", documentation)
    exchange_name, topic_write, topic_read = shlex.split(command)[-3:]
    address = urlsplit(publisher.url)
    vhost = unquote(address.path.removeprefix("/"))
    module = "rabbit_auth_backend_internal"
    await rabbitmq.evaluate(f'{module}:add_user(<<"my-app">>, <<"secret">>, <<"test">>).')
    try:
        await rabbitmq.evaluate(
            f"{module}:set_permissions({binary('my-app')}, {binary(vhost)}, {binary(configure)},"
            f" {binary(write)}, {binary(read)}, {binary('test')}),"
            f"{module}:set_topic_permissions({binary('my-app')}, {binary(vhost)},"
            f" {binary(exchange_name)}, {binary(topic_write)}, {binary(topic_read)},"
            f" {binary('test')})."
        )
        url = address._replace(netloc=f"my-app:secret@{address.hostname}:{address.port}").geturl()
        session, since = SessionId(uuid4()), datetime.now(UTC)
        await publisher.publish(sent(1, session))
        reader = Reader(
            subscribe(url, "message.sent", session=str(session), queue="my-app", since=since)
        )
        await bound(publisher, "my-app")
        await publisher.publish(sent(2, session))
        assert await reader.until(2) == [1, 2]
        await reader.stop()
        without_queue = Reader(
            subscribe(url, "message.sent", session=str(session), since=datetime.now(UTC))
        )
        await publisher.publish(sent(3, session))
        assert await without_queue.until(1) == [3]
        await without_queue.stop()
        with pytest.raises(SubscriptionRefused, match="permission"):
            await first_event_of(subscribe(url, "message.sent", queue="not-my-app"))
        await assert_confined(url, await exchanges_of(rabbitmq, vhost))
    finally:
        await rabbitmq.evaluate(f'{module}:delete_user(<<"my-app">>, <<"test">>).')


async def exchanges_of(rabbitmq: RabbitMQServer, vhost: str) -> list[str]:
    """The names of all exchanges of the virtual host, the default one and RabbitMQ's among them."""
    found = await rabbitmq.evaluate(
        'lists:flatten([io_lib:format("(~s)", [element(4, N)])'
        f" || N <- rabbit_exchange:list_names(), element(2, N) =:= {binary(vhost)}])."
    )
    names = re.findall(r"\(([^()]*)\)", found)
    assert {"", "amq.direct", "amq.topic", EVENTS, "wa.commands", "wa.bundles"} <= set(names), found
    return names


async def assert_confined(url: str, exchanges: list[str]) -> None:
    """The user may read, bind and publish within its prefix alone."""
    async with await aio_pika.connect(url) as connection:

        async def refused(what: str, attempt: Callable[[AbstractChannel], Awaitable[Any]]) -> None:
            channel = await connection.channel()
            try:
                await attempt(channel)
            except ChannelAccessRefused:
                return
            pytest.fail(f"{what} is allowed")

        for name in exchanges:
            if name.startswith("my-app"):
                continue

            async def publish(channel: AbstractChannel, name: str = name) -> None:
                exchange = channel.default_exchange
                if name:
                    exchange = await channel.get_exchange(name, ensure=False)
                await exchange.publish(aio_pika.Message(b"{}"), "wa.commands.p0", mandatory=False)

            async def dead_letter(channel: AbstractChannel, name: str = name) -> None:
                await channel.declare_queue(
                    "my-app.escape", arguments={"x-dead-letter-exchange": name}
                )

            async def alternate(channel: AbstractChannel, name: str = name) -> None:
                await channel.declare_exchange(
                    "my-app.escape", arguments={"alternate-exchange": name}
                )

            await refused(f"publishing to {name!r}", publish)
            await refused(f"dead-lettering to {name!r}", dead_letter)
            if name:
                await refused(f"passing on to {name!r}", alternate)
        for name in ("wa.commands.p0", "wa.projector"):
            await refused(
                f"consuming {name}",
                partial(consume, name=name),
            )
        for key in ("#", "reply.*"):
            await refused(f"binding {key}", partial(bind, key=key))


async def consume(channel: AbstractChannel, name: str) -> None:
    """Consume a queue that exists."""
    await (await channel.get_queue(name, ensure=False)).consume(reader_of_others)


async def bind(channel: AbstractChannel, key: str) -> None:
    """Bind the program's own queue to the events."""
    await (await channel.get_queue("my-app", ensure=False)).bind(EVENTS, key)


def binary(text: str) -> str:
    """An Erlang binary."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'<<"{escaped}">>'


async def reader_of_others(_: aio_pika.abc.AbstractIncomingMessage) -> None:
    """Would get what belongs to the gateway."""


async def test_an_event_that_does_not_exist_is_said_at_once() -> None:
    with pytest.raises(ValueError, match=r"message\.vanished"):
        subscribe("amqp://127.0.0.1/", "message.vanished")


async def test_a_time_without_a_zone_is_said_at_once() -> None:
    with pytest.raises(ValueError, match="time zone"):
        subscribe("amqp://127.0.0.1/", since=datetime(2026, 1, 2))  # noqa: DTZ001 - the very fault
