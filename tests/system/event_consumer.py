"""An event consumer as others write them: AMQP alone, nothing of the product's code."""

import asyncio
import json
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aio_pika
from aio_pika.abc import AbstractIncomingMessage

from tests.deadlines import PATIENCE_SECONDS, eventually


class EventConsumer:
    """Keeps every event that reached its queue, in the order of arrival."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []
        self.raw: list[bytes] = []

    async def take(self, message: AbstractIncomingMessage) -> None:
        """Keep one event and acknowledge it."""
        self.raw.append(message.body)
        self.events.append(json.loads(message.body))
        await message.ack()

    def of(self, session_id: str, type_: str | None = None) -> list[dict[str, Any]]:
        """The events of a session (of one type), each once, in the order of arrival."""
        seen: dict[str, dict[str, Any]] = {}
        for event in self.events:
            if event["sessionId"] == session_id and type_ in {None, event["type"]}:
                seen.setdefault(event["id"], event)
        return list(seen.values())

    async def wait_for(
        self, session_id: str, type_: str, *, count: int = 1, within: float = PATIENCE_SECONDS
    ) -> list[dict[str, Any]]:
        """The session's events of this type, once there are `count` of them."""

        def enough() -> list[dict[str, Any]]:
            found = self.of(session_id, type_)
            assert len(found) >= count, [event["type"] for event in self.of(session_id)]
            return found

        return await eventually(enough, within=within, what=f"{count} {type_} of {session_id}")

    def assert_gapless(self) -> None:
        """First arrivals of each session are numbered 1, 2, 3, … in that order."""
        first_arrivals: defaultdict[str, list[int]] = defaultdict(list)
        for session_id in {event["sessionId"] for event in self.events}:
            first_arrivals[session_id] = [e["sessionSequence"] for e in self.of(session_id)]
        for session_id, sequences in first_arrivals.items():
            assert sequences == list(range(1, len(sequences) + 1)), (session_id, sequences)


@asynccontextmanager
async def consuming(broker: str, *, key: str = "v1.#") -> AsyncIterator[EventConsumer]:
    """Consume what `wa.events` gets from now on under this key. The exchange must be there."""
    consumer = EventConsumer()
    async with await aio_pika.connect(broker) as connection:
        channel = await connection.channel()
        queue = await channel.declare_queue(exclusive=True)
        await queue.bind("wa.events", key)
        await queue.consume(consumer.take)
        yield consumer


@asynccontextmanager
async def reading_the_log(broker: str) -> AsyncIterator[EventConsumer]:
    """Consume the stream `wa.events.log` from its first event."""
    consumer = EventConsumer()
    async with await aio_pika.connect(broker) as connection, asyncio.timeout(120):
        channel = await connection.channel()
        await channel.set_qos(prefetch_count=500)
        log = await channel.get_queue("wa.events.log", ensure=False)
        await log.consume(consumer.take, arguments={"x-stream-offset": "first"})
        yield consumer
