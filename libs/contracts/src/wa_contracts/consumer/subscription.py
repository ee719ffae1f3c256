"""A subscription: one reconnecting connection, with events in order and acknowledged after use."""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager, suppress
from datetime import datetime, timedelta
from uuid import UUID

from aio_pika.abc import (
    AbstractConnection,
    AbstractIncomingMessage,
    AbstractQueue,
)
from aiormq.exceptions import ChannelAccessRefused, ChannelNotFoundEntity

from wa_contracts.codec import EVENT_TYPES, Undecodable, decode_event
from wa_contracts.consumer.connection import LOST, connect, refusals, user_of
from wa_contracts.consumer.queue import (
    declare_durable,
    declare_temporary,
    mark_past_unread,
    past_mark,
)
from wa_contracts.consumer.tracing import traced
from wa_contracts.envelope import Envelope
from wa_contracts.topology import EVENT_LOG, EVENTS

log = logging.getLogger(__name__)

PREFETCH = 100
REMEMBERED = 10_000
RECONNECT_SECONDS = 1.0
END_OF_LOG_SECONDS = 2.0
CLOCKS_DIFFER_BY = timedelta(minutes=5)
"""Tolerance: the log is searched by the broker's clock, events are dated by the database's."""
EVENTS_OVERTAKE_BY = timedelta(minutes=1)
"""Longest time that an event may arrive after newer events of other sessions."""


class Subscription:
    """Events of some types, of one session or of all. See `subscribe`."""

    def __init__(
        self,
        url: str,
        types: Sequence[str],
        *,
        session: str = "*",
        queue: str | None = None,
        shared: bool = False,
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
        self._shared = shared
        self._since = since
        self._prefetch = prefetch
        self._current: AbstractIncomingMessage | None = None
        self._seen: OrderedDict[tuple[UUID, int], None] = OrderedDict()

    async def reject(self) -> None:
        """Dead-letter the current event instead of acknowledging it."""
        await self._return(requeue=False)

    async def nack(self) -> None:
        """Requeue the current event. This or another worker of the queue receives it again."""
        await self._return(requeue=True)

    async def _return(self, *, requeue: bool) -> None:
        """With the connection lost, the broker has requeued the event already."""
        message, self._current = self._current, None
        if message is not None:
            with suppress(*LOST):
                await message.reject(requeue=requeue)

    async def __aiter__(self) -> AsyncIterator[Envelope]:
        """Iterate over events without end. Each is acknowledged when the next one is requested.

        Raises:
            SubscriptionRefused: The broker refuses the user, a permission or the queue.
        """
        while True:
            try:
                with refusals():
                    async with aclosing(self._events()) as events:
                        async for event in events:
                            yield event
            except LOST as error:
                log.warning("broker lost, connecting again: %r", error)
                await asyncio.sleep(RECONNECT_SECONDS)

    async def _events(self) -> AsyncGenerator[Envelope, None]:
        """Past and present, as long as the connection lasts."""
        async with self._open() as (connection, queue):
            async with aclosing(self._read_past(connection)) as past:
                async for event in past:
                    yield event
            async with aclosing(self._from_queue(queue)) as live:
                async for event in live:
                    yield event

    @asynccontextmanager
    async def _open(self) -> AsyncIterator[tuple[AbstractConnection, AbstractQueue]]:
        connection = await connect(self._url)
        async with connection:
            channel = await connection.channel()
            await channel.set_qos(prefetch_count=self._prefetch)
            queue = await channel.get_queue(await self._declare(connection), ensure=False)
            for event in self._types:
                await queue.bind(EVENTS, f"v1.{self._session}.{event}")
            yield connection, queue

    async def _declare(self, connection: AbstractConnection) -> str:
        name = self._queue_name
        if name is None:
            return await declare_temporary(connection, user_of(self._url))
        if self._since and not await self._exists(connection, name):
            await mark_past_unread(connection, name)
        await declare_durable(connection, name, shared=self._shared)
        return name

    async def _exists(self, connection: AbstractConnection, name: str) -> bool:
        channel = await connection.channel()
        try:
            await channel.declare_queue(name, passive=True)
        except ChannelNotFoundEntity:
            return False
        await channel.close()
        return True

    async def _read_past(self, connection: AbstractConnection) -> AsyncGenerator[Envelope, None]:
        """The past, if requested and neither read yet nor being read by another worker."""
        if self._since is None:
            return
        if self._queue_name is None:
            async with aclosing(self._from_log(self._since)) as past:
                async for event in past:
                    yield event
            return
        unread = await self._claim_past(connection, past_mark(self._queue_name))
        if unread is None:
            return
        async with aclosing(self._from_log(self._since)) as past:
            async for event in past:
                yield event
        await unread.delete(if_unused=False)

    async def _claim_past(self, connection: AbstractConnection, mark: str) -> AbstractQueue | None:
        """The marker queue, or None if there is no past to read.

        While another worker reads it, a worker of a shared queue begins with the present. Otherwise
        it waits, also for a worker that is gone without the broker's knowledge.
        """
        while True:
            channel = await connection.channel()
            try:
                unread = await channel.get_queue(mark)
                await unread.consume(_ignore, exclusive=True)
            except ChannelNotFoundEntity:
                return None
            except ChannelAccessRefused:  # in exclusive use
                if self._shared:
                    return None
                await asyncio.sleep(RECONNECT_SECONDS)
            else:
                return unread

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
                self._current = message
                self._advance_since(event)
                with traced(message, event):
                    yield event
                if self._current is message:
                    self._remember(event)
                    await message.ack()
                    self._current = None

    async def _from_log(self, since: datetime) -> AsyncGenerator[Envelope, None]:
        """Events in the log, up to those that the queue has received since it was bound."""
        last = await self._last_offset()
        if last is None:
            return
        async with self._log(since - CLOCKS_DIFFER_BY) as messages:
            while True:
                message = await messages.get()
                await message.ack()
                event = self._read(message)
                if event is not None and self._matches(event, since) and not self._is_known(event):
                    self._advance_since(event)
                    yield event
                    self._remember(event)
                if _offset(message) >= last:
                    return

    async def _last_offset(self) -> int | None:
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
        """Read the log stream from an offset, on a dedicated connection.

        aio-pika's iterator ends with a nack, which streams do not support. Closing the connection
        avoids that.
        """
        connection = await connect(self._url)
        async with connection:
            channel = await connection.channel()
            await channel.set_qos(prefetch_count=self._prefetch)
            messages: asyncio.Queue[AbstractIncomingMessage] = asyncio.Queue()
            queue = await channel.get_queue(EVENT_LOG)
            await queue.consume(messages.put, arguments={"x-stream-offset": offset})
            yield messages

    def _matches(self, event: Envelope, since: datetime) -> bool:
        is_session = self._session in {"*", str(event.session_id)}
        return is_session and event.type in self._types and event.occurred_at >= since

    def _read(self, message: AbstractIncomingMessage) -> Envelope | None:
        try:
            return decode_event(message.body)
        except Undecodable as error:
            log.error("event undecodable, rejected: %s", error)  # noqa: TRY400
            return None

    def _is_known(self, event: Envelope) -> bool:
        """Whether the program has finished this event in this process."""
        return (event.session_id, event.session_sequence) in self._seen

    def _remember(self, event: Envelope) -> None:
        """The program asked for the next event: this one is finished.

        Not at the delivery: a loop whose body raised gets the event again.
        """
        self._seen[event.session_id, event.session_sequence] = None
        if len(self._seen) > REMEMBERED:
            self._seen.popitem(last=False)

    def _advance_since(self, event: Envelope) -> None:
        """Without a durable queue, advance `since`, from where a reconnect reads the log."""
        if self._queue_name is None and self._since is not None:
            self._since = max(self._since, event.occurred_at - EVENTS_OVERTAKE_BY)


async def _ignore(_: AbstractIncomingMessage) -> None:
    return


def subscribe(
    url: str,
    *types: str,
    session: str = "*",
    queue: str | None = None,
    shared: bool = False,
    since: datetime | None = None,
    prefetch: int = PREFETCH,
) -> Subscription:
    """Subscribe to events of these types, or of all types if none is given.

    `session` is one session's id or `*`. With `queue`, a durable queue of that name keeps events
    while no consumer is connected: the newest million, at most 1 GB. The queue expires after a week
    without consumers. Undecodable and rejected events go to `<queue>.dead-letters`, which keeps
    10,000 for a month. Without `queue`, events start now.

    A session's events come in order. One subscriber of the queue at a time receives events, and
    others stand by: after a lost connection the next one receives nothing before the broker has
    given the old one up, up to 20 s. With `shared`, all subscribers of the queue receive events at
    once, and a session's events may come out of order.

    `since` (aware) starts a new queue in the past, from the stream `wa.events.log`. One worker of
    the queue reads the past. If that worker dies, the next subscriber starts the past again. Past
    events cannot be rejected or requeued.

    Each event is acknowledged when the loop requests the next one. A process that dies in the
    loop's body receives the event again. `await subscription.reject()` or `.nack()` in the body
    overrides the acknowledgement. Duplicates, by `session_sequence`, are skipped. The subscription
    reconnects without end.

    With OpenTelemetry configured, the loop's body runs in a span of the event's trace (not for past
    events).

    Raises:
        ValueError: A type is unknown, or `since` has no time zone.
        SubscriptionRefused: While iterating: the broker refuses the user, a permission or the
            queue's arguments, and would again.
    """
    return Subscription(
        url, types, session=session, queue=queue, shared=shared, since=since, prefetch=prefetch
    )


def _offset(message: AbstractIncomingMessage) -> int:
    offset = message.headers.get("x-stream-offset", 0)
    assert isinstance(offset, int)
    return offset
