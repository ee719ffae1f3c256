"""A subscription: one connection that is renewed, its events in order, each acknowledged after use."""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Sequence
from contextlib import aclosing, asynccontextmanager, contextmanager
from datetime import datetime, timedelta
from uuid import UUID

import aio_pika
from aio_pika.abc import (
    AbstractConnection,
    AbstractIncomingMessage,
    AbstractQueue,
)
from opentelemetry import context, propagate, trace
from opentelemetry.trace import SpanKind

from wa_contracts.codec import EVENT_TYPES, Undecodable, decode_event
from wa_contracts.consumer.queue import declare_queue, mark_past_unread, past_mark
from wa_contracts.envelope import Envelope
from wa_contracts.topology import EVENT_LOG

log = logging.getLogger(__name__)

PREFETCH = 100
REMEMBERED = 10_000
RECONNECT_SECONDS = 1.0
END_OF_LOG_SECONDS = 2.0
CLOCKS_DIFFER_BY = timedelta(minutes=5)
"""The log is found by the broker's clock, events are dated by the database's."""
EVENTS_OVERTAKE_BY = timedelta(minutes=1)
"""Sessions are published beside each other: an event may come after younger ones of others."""

LOST = (OSError, aio_pika.exceptions.AMQPError, RuntimeError, TimeoutError)
"""What aio-pika raises when the broker goes away."""


class Subscription:
    """Events of some types, of one session or of all. See `subscribe`."""

    def __init__(
        self,
        url: str,
        types: Sequence[str],
        *,
        session: str = "*",
        queue: str | None = None,
        since: datetime | None = None,
        prefetch: int = PREFETCH,
    ) -> None:
        """`types` are names such as `message.sent`; none means all."""
        unknown = [name for name in types if name not in EVENT_TYPES]
        if unknown:
            raise ValueError(f"no such event: {', '.join(unknown)}")
        if since is not None and since.tzinfo is None:
            raise ValueError("`since` has no time zone: give it one, for example UTC")
        self._url = url
        self._types = tuple(types) or tuple(EVENT_TYPES)
        self._session = session
        self._queue_name = queue
        self._since = since
        self._prefetch = prefetch
        self._present: AbstractIncomingMessage | None = None
        self._seen: OrderedDict[tuple[UUID, int], None] = OrderedDict()

    async def reject(self) -> None:
        """Put the present event with the queue's dead letters instead of acknowledging it."""
        if self._present is not None:
            await self._present.reject(requeue=False)
            self._present = None

    async def nack(self) -> None:
        """Put the present event back: it comes again, to this or another worker of the queue."""
        if self._present is not None:
            self._forget(self._present)
            await self._present.nack(requeue=True)
            self._present = None

    async def __aiter__(self) -> AsyncIterator[Envelope]:
        """Events for ever; each is acknowledged when the next one is asked for."""
        while True:
            try:
                async with self._open() as (connection, queue):
                    async with aclosing(self._past(connection)) as past:
                        async for event in past:
                            yield event
                    async with aclosing(self._from_queue(queue)) as live:
                        async for event in live:
                            yield event
            except LOST as error:
                log.warning("broker lost, connecting again: %r", error)
                await asyncio.sleep(RECONNECT_SECONDS)

    @asynccontextmanager
    async def _open(self) -> AsyncIterator[tuple[AbstractConnection, AbstractQueue]]:
        connection = await self._connect()
        async with connection:
            channel = await connection.channel()
            await channel.set_qos(prefetch_count=self._prefetch)
            name = self._queue_name
            if name is not None and self._since and not await self._exists(connection, name):
                await mark_past_unread(channel, name)
            keys = [f"v1.{self._session}.{event}" for event in self._types]
            yield connection, await declare_queue(channel, name, keys)

    async def _exists(self, connection: AbstractConnection, name: str) -> bool:
        channel = await connection.channel()
        try:
            await channel.declare_queue(name, passive=True)
        except aio_pika.exceptions.ChannelNotFoundEntity:
            return False
        await channel.close()
        return True

    async def _past(self, connection: AbstractConnection) -> AsyncGenerator[Envelope, None]:
        """The past, if it was asked for and not read yet, nor is being read by another worker."""
        if self._since is None:
            return
        if self._queue_name is None:
            async with aclosing(self._from_log(self._since)) as past:
                async for event in past:
                    yield event
            return
        channel = await connection.channel()
        try:
            unread = await channel.get_queue(past_mark(self._queue_name))
            await unread.consume(_ignore, exclusive=True)
        except aio_pika.exceptions.ChannelClosed:  # not there, or another worker has it
            return
        async with aclosing(self._from_log(self._since)) as past:
            async for event in past:
                yield event
        await unread.delete(if_unused=False)

    async def _from_queue(self, queue: AbstractQueue) -> AsyncGenerator[Envelope, None]:
        async with queue.iterator() as messages:
            async for message in messages:
                event = self._read(message)
                if event is None:
                    await message.reject(requeue=False)
                    continue
                if self._is_known(event):
                    await message.ack()
                    continue
                self._present = message
                self._pass(event)
                with _traced(message, event):
                    yield event
                if self._present is message:
                    await message.ack()
                    self._present = None

    async def _from_log(self, since: datetime) -> AsyncGenerator[Envelope, None]:
        """The past, up to what the queue has had since it was bound."""
        last = await self._last_offset()
        if last is None:
            return
        async with self._log(since - CLOCKS_DIFFER_BY) as messages:
            while True:
                message = await messages.get()
                await message.ack()
                event = self._read(message)
                if event is not None and self._wants(event, since) and not self._is_known(event):
                    self._pass(event)
                    yield event
                if _offset(message) >= last:
                    return

    async def _last_offset(self) -> int | None:
        """The offset of the newest event in the log; None if it is empty."""
        found: int | None = None
        async with self._log("last") as messages:
            try:
                while True:
                    async with asyncio.timeout(END_OF_LOG_SECONDS):
                        message = await messages.get()
                    await message.ack()
                    found = _offset(message)
            except TimeoutError:
                return found

    @asynccontextmanager
    async def _log(
        self, offset: datetime | str
    ) -> AsyncIterator[asyncio.Queue[AbstractIncomingMessage]]:
        """The log stream from an offset on, on a connection of its own.

        A stream takes no nack, which aio-pika's iterator sends at its end: so the connection ends.
        """
        connection = await self._connect()
        async with connection:
            channel = await connection.channel()
            await channel.set_qos(prefetch_count=self._prefetch)
            messages: asyncio.Queue[AbstractIncomingMessage] = asyncio.Queue()
            queue = await channel.get_queue(EVENT_LOG)
            await queue.consume(messages.put, arguments={"x-stream-offset": offset})
            yield messages

    async def _connect(self) -> AbstractConnection:
        return await aio_pika.connect(
            self._url, heartbeat=10, client_properties={"connection_name": "wa_contracts.consumer"}
        )

    def _wants(self, event: Envelope, since: datetime) -> bool:
        mine = self._session in {"*", str(event.session_id)}
        return mine and event.type in self._types and event.occurred_at >= since

    def _read(self, message: AbstractIncomingMessage) -> Envelope | None:
        try:
            return decode_event(message.body)
        except Undecodable as error:
            log.error("event undecodable, put with the dead letters: %s", error)  # noqa: TRY400
            return None

    def _is_known(self, event: Envelope) -> bool:
        """Whether this process has had the event; remembers it."""
        key = (event.session_id, event.session_sequence)
        if key in self._seen:
            return True
        self._seen[key] = None
        if len(self._seen) > REMEMBERED:
            self._seen.popitem(last=False)
        return False

    def _pass(self, event: Envelope) -> None:
        """Without a queue that waits, what a lost connection left out is read from the log."""
        if self._queue_name is None and self._since is not None:
            self._since = max(self._since, event.occurred_at - EVENTS_OVERTAKE_BY)

    def _forget(self, message: AbstractIncomingMessage) -> None:
        event = self._read(message)
        if event is not None:
            self._seen.pop((event.session_id, event.session_sequence), None)


async def _ignore(_: AbstractIncomingMessage) -> None:
    return


def subscribe(
    url: str,
    *types: str,
    session: str = "*",
    queue: str | None = None,
    since: datetime | None = None,
    prefetch: int = PREFETCH,
) -> Subscription:
    """Events of these types (all if none is named) as they happen, typed, for ever.

    `session` is one session's id or `*`. With `queue` a durable queue of that name collects what
    happens while nobody listens, shared by all who name it; it is dropped after a week without
    consumers and keeps the newest million events, at most 1 GB; what cannot be read or is rejected
    goes to `<queue>.dead-letters`, 10,000 and a month at most. Without `queue`, only what happens
    from now on.

    `since` (aware) begins in the past, from the stream `wa.events.log`, when the queue is new. One
    of the queue's workers reads the past; if it dies over it, the past is begun again by whoever
    subscribes next. Events of the past cannot be rejected or put back.

    Each event is acknowledged when the loop asks for the next one: a process that dies in the
    loop's body gets the event again. `await subscription.reject()` or `.nack()` in the body does
    otherwise. An event that came before, by its `session_sequence`, is passed over. The connection
    comes back by itself, for ever.

    Where the program has set up OpenTelemetry, the loop's body runs in a span of the trace in which
    the event was published (not for events of the past).

    Raises:
        ValueError: there is no event of such a name, or `since` has no time zone.
    """
    return Subscription(url, types, session=session, queue=queue, since=since, prefetch=prefetch)


def _offset(message: AbstractIncomingMessage) -> int:
    offset = message.headers.get("x-stream-offset", 0)
    assert isinstance(offset, int)
    return offset


@contextmanager
def _traced(message: AbstractIncomingMessage, event: Envelope) -> Iterator[None]:
    """Make a span of the event's trace the present one until the next event is asked for.

    What was present before is put back rather than the token given back: a generator that is
    closed by the garbage collector ends in another context, where its token is worth nothing.
    """
    before = context.get_current()
    span = trace.get_tracer(__name__).start_span(
        f"{event.type} process",
        propagate.extract(message.headers, before),
        SpanKind.CONSUMER,
        {
            "messaging.system": "rabbitmq",
            "messaging.message.id": str(event.id),
            "wa.session_id": str(event.session_id),
        },
    )
    context.attach(trace.set_span_in_context(span, before))
    try:
        yield
    finally:
        context.attach(before)
        span.end()
