"""Events to consume, who publishes them, and a program that reads them."""

import asyncio
from datetime import UTC, datetime
from uuid import UUID, uuid4

import aio_pika

from tests.deadlines import eventually
from tests.queues import is_consumed
from wa_contracts.codec import encode
from wa_contracts.consumer import Subscription
from wa_contracts.envelope import Envelope
from wa_contracts.ids import EventId, MessageId, SessionId, message_stream
from wa_contracts.internal.commands import MessageType
from wa_contracts.message_events import MessageSent
from wa_contracts.session_events import SessionStopped
from wa_contracts.topology import EVENTS, event_key

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


async def first_event_of(subscription: Subscription) -> None:
    """Ask for one event, for at most 30 s."""
    async with asyncio.timeout(30):
        async for _ in subscription:
            return


def binary(text: str) -> str:
    """An Erlang binary."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'<<"{escaped}">>'
