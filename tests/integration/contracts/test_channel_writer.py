"""Writing to the broker: one piece for what comes together, an answer for every message."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import uuid4

import aio_pika
import pytest
from aio_pika.exceptions import PublishError

from tests.deadlines import eventually
from tests.proxy import proxy_to
from wa_runtime.broker import BrokerLink
from wa_runtime.channel_writer import (
    DEFAULT_EXCHANGE,
    ChannelWriter,
    Confirm,
    Properties,
    durable,
)
from wa_runtime.connection_loss import BrokerConnectionLost

AT_ONCE = 200


@asynccontextmanager
async def linked(url: str) -> AsyncIterator[tuple[BrokerLink, ChannelWriter]]:
    """A link, and the writer of its first connection."""
    link = BrokerLink(url, "test")
    running = asyncio.create_task(link.run())
    try:
        async with asyncio.timeout(20):
            yield link, await link.wait_writable()
    finally:
        running.cancel()
        await asyncio.wait([running])


@pytest.fixture
async def queue(broker: str) -> AsyncIterator[aio_pika.abc.AbstractQueue]:
    """A queue of the test's own, on a connection of its own."""
    async with await aio_pika.connect(broker) as connection:
        channel = await connection.channel()
        yield await channel.declare_queue(f"test.{uuid4()}", auto_delete=True)


def put(writer: ChannelWriter, key: str, body: bytes, **others: object) -> Confirm:
    """Publish to the queue of that name."""
    return writer.publish(body, durable("test", **others), exchange=DEFAULT_EXCHANGE, key=key)


async def test_messages_of_all_sizes_arrive_in_order_as_they_were(
    broker: str, queue: aio_pika.abc.AbstractQueue
) -> None:
    bodies = [b"", b"x", b"y" * 1_000_000, b"z"]
    async with linked(broker) as (_, writer):
        confirms = [put(writer, queue.name, body, message_id=str(len(body))) for body in bodies]
        await asyncio.gather(*confirms)
        for body in bodies:
            message = await queue.get(no_ack=True)
            assert (message.body, message.type) == (body, "test")
            assert message.message_id == str(len(body))
            assert message.delivery_mode is aio_pika.DeliveryMode.PERSISTENT


async def test_what_comes_in_one_turn_of_the_loop_is_written_in_one_piece(
    broker: str, queue: aio_pika.abc.AbstractQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with linked(broker) as (_, writer):
        written: list[bytes] = []
        write = asyncio.StreamWriter.write

        def noted(self: asyncio.StreamWriter, data: bytes) -> None:
            written.append(data)
            write(self, data)

        monkeypatch.setattr(asyncio.StreamWriter, "write", noted)
        await asyncio.gather(*(put(writer, queue.name, b"hello") for _ in range(AT_ONCE)))
        pieces = [data for data in written if b"hello" in data]
        assert [data.count(b"hello") for data in pieces] == [AT_ONCE]


async def test_a_message_that_no_queue_gets_is_told_of_and_harms_no_other(
    broker: str, queue: aio_pika.abc.AbstractQueue
) -> None:
    async with linked(broker) as (_, writer):
        lost, kept = put(writer, "nowhere", b"lost"), put(writer, queue.name, b"kept")
        unasked = writer.publish(
            b"", Properties(), exchange=DEFAULT_EXCHANGE, key="nowhere", mandatory=False
        )
        with pytest.raises(PublishError):
            await lost
        await asyncio.gather(kept, unasked)
        assert (await queue.get(no_ack=True)).body == b"kept"


async def test_deliveries_are_acknowledged_given_back_and_rejected(
    broker: str, queue: aio_pika.abc.AbstractQueue
) -> None:
    async with linked(broker) as (_, writer):
        await asyncio.gather(*(put(writer, queue.name, body) for body in (b"1", b"2", b"3", b"4")))
        mine = await writer.channel.get_queue(queue.name)
        tags = [(await mine.get()).delivery_tag or 0 for _ in range(4)]
        writer.ack(tags[1], multiple=True)
        writer.reject(tags[2], requeue=False)
        writer.reject(tags[3], requeue=True)
        await writer.wait_written()
        back = await eventually(
            lambda: queue.get(no_ack=True, fail=False), what="it is in the queue again"
        )
        assert back is not None
        assert (back.body, back.redelivered) == (b"4", True)
        assert await queue.get(no_ack=True, fail=False) is None


@pytest.mark.parametrize("is_cut", [False, True])
@pytest.mark.parametrize("turns", range(4))
async def test_nobody_waits_for_ever_when_the_connection_ends(
    broker: str, turns: int, *, is_cut: bool
) -> None:
    """Whatever has come of the messages by then: not begun, waiting to be written, written."""
    async with proxy_to(broker) as (proxy, url), linked(url) as (link, writer):
        proxy.mute = True
        confirms = [put(writer, "nowhere", b"x") for _ in range(AT_ONCE)]
        for _ in range(turns):
            await asyncio.sleep(0)
        if is_cut:
            proxy.cut()
        else:
            link.reconnect(writer)
        async with asyncio.timeout(10):
            ended = await asyncio.gather(*confirms, return_exceptions=True)
            await writer.wait_written()
        assert {type(one) for one in ended} == {BrokerConnectionLost}
        with pytest.raises(BrokerConnectionLost):
            await put(writer, "nowhere", b"x")
        with pytest.raises(BrokerConnectionLost):
            writer.ack(1)
