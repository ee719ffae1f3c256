"""RabbitMQ in memory: command queues with acknowledgements, and what hosts publish."""

import asyncio
from collections import defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

from wa_contracts.codec import decode_event, decode_reply
from wa_contracts.envelope import Envelope
from wa_contracts.internal.replies import Reply
from wa_contracts.topology import COMMANDS, EVENTS, QUEUES
from wa_runtime.channel_writer import Confirm, Properties
from wa_runtime.connection_loss import BrokerConnectionLost
from wa_session_host.main import PREFETCH

LATENCY_SECONDS = 0.001


@dataclass
class Broker:
    """Queues and published events. Nothing is lost in it; connections to it are."""

    queues: defaultdict[str, deque[bytes]] = field(default_factory=lambda: defaultdict(deque))
    published: list[Envelope] = field(default_factory=list)
    replies: list[Reply] = field(default_factory=list)
    dead: list[bytes] = field(default_factory=list)
    """What a host rejected."""
    is_up: bool = True
    confirms: bool = True
    """Whether it confirms what is published."""
    links: list["Link"] = field(default_factory=list)
    consumers: defaultdict[str, list["Channel"]] = field(default_factory=lambda: defaultdict(list))
    """Of each queue; the first one is its single active consumer."""

    def put(self, key: str, body: bytes) -> None:
        """A command of the api: it reaches every queue that is bound with this key."""
        for queue in QUEUES:
            if (COMMANDS, key) in queue.bindings:
                self.queues[queue.name].append(body)
                self.deliver(queue.name)

    def deliver(self, queue: str) -> None:
        """Hand messages to the queue's active consumer, if it has room."""
        if self.consumers[queue]:
            self.consumers[queue][0].fill(queue)

    def accept(self, exchange: str, key: str, body: bytes) -> None:
        """Take a published message."""
        if exchange == EVENTS and key.startswith("v1."):
            self.published.append(decode_event(body))
        elif exchange == EVENTS and key.startswith("reply."):
            self.replies.append(decode_reply(body))

    def cut_connections(self, *, stay_down: bool) -> None:
        """Break every connection; new ones are possible once the broker is up."""
        self.is_up = not stay_down
        for link in self.links:
            link.drop()

    def restore(self) -> None:
        """Accept connections."""
        self.is_up = True
        for link in self.links:
            link.opened.set()


class Link:
    """BrokerLink of one host. `kill` ends it for good."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._writer: Writer | None = None
        self._is_killed = False
        self.opened = asyncio.Event()
        broker.links.append(self)

    @property
    def writer(self) -> "Writer | None":
        """The current writer."""
        if self._broker.is_up and not self._is_killed and self._writer is None:
            self._writer = Writer(self._broker)
        return self._writer

    async def wait_open(self) -> "Writer":
        """Wait for a connection."""
        while (writer := self.writer) is None:
            self.opened.clear()
            await self.opened.wait()
        return writer

    wait_writable = wait_open

    async def wait_lost(self, writer: "Writer") -> None:
        """Wait for its end."""
        await writer.lost.wait()

    def reconnect(self, writer: "Writer") -> None:
        """Replace it."""
        if writer is self._writer:
            self.drop()

    def drop(self) -> None:
        """Break the connection."""
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.end()

    def kill(self) -> None:
        """The host ended: no connection any more."""
        self._is_killed = True
        self.drop()


class Writer:
    """ChannelWriter: publishes, acknowledges, and consumes through `underlay`."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._confirms: deque[Confirm] = deque()
        self._sent: deque[tuple[str, str, bytes]] = deque()
        self.lost = asyncio.Event()
        self.underlay = Channel(broker)

    def publish(
        self,
        body: bytes,
        properties: Properties,
        *,
        exchange: str,
        key: str,
        mandatory: bool = True,
    ) -> Confirm:
        """The broker has it after one latency, the confirm comes after two."""
        loop = asyncio.get_running_loop()
        confirm: Confirm = loop.create_future()
        if self.lost.is_set():
            confirm.set_exception(BrokerConnectionLost("channel closed"))
            return confirm
        self._confirms.append(confirm)
        self._sent.append((exchange, key, body))
        loop.call_later(LATENCY_SECONDS, self._accept_next)
        loop.call_later(2 * LATENCY_SECONDS, self._confirm_next)
        return confirm

    def _accept_next(self) -> None:
        if not self.lost.is_set() and self._broker.confirms:
            self._broker.accept(*self._sent.popleft())

    def _confirm_next(self) -> None:
        if self.lost.is_set() or not self._broker.confirms:
            return
        if not (confirm := self._confirms.popleft()).done():
            confirm.set_result(None)

    def ack(self, tag: int, *, multiple: bool = False) -> None:
        """Forget the delivery."""
        self._raise_if_lost()
        self.underlay.settle(tag)

    def reject(self, tag: int, *, requeue: bool) -> None:
        """Put it back, or aside."""
        self._raise_if_lost()
        self.underlay.settle(tag, back=requeue, dead=not requeue)

    async def wait_written(self) -> None:
        """Everything is written at once."""

    def end(self) -> None:
        """Fail the confirms, put back what is not acknowledged."""
        self.lost.set()
        for confirm in self._confirms:
            if not confirm.done():
                confirm.set_exception(BrokerConnectionLost("connection lost"))
                confirm.exception()
        self.underlay.close()

    def _raise_if_lost(self) -> None:
        if self.lost.is_set():
            raise BrokerConnectionLost("connection lost")


class Channel:
    """The consuming half of a channel."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._handlers: dict[str, Callable[[Any], Any]] = {}
        self._unacknowledged: dict[int, tuple[str, bytes]] = {}
        self._tag = 0
        self._is_closed = False

    async def basic_consume(self, queue: str, handle: Callable[[Any], Any], **_: object) -> Any:
        """Deliver what waits, and what comes."""
        await asyncio.sleep(LATENCY_SECONDS)
        if self._is_closed:
            raise BrokerConnectionLost("connection lost")
        self._handlers[queue] = handle
        self._broker.consumers[queue].append(self)
        self._broker.deliver(queue)
        return SimpleNamespace(consumer_tag=queue)

    async def basic_cancel(self, tag: str) -> None:
        """Deliver no more. What was delivered stays unacknowledged."""
        await asyncio.sleep(LATENCY_SECONDS)
        self._leave(tag)

    def _leave(self, queue: str) -> None:
        if self._handlers.pop(queue, None) is not None:
            self._broker.consumers[queue].remove(self)
            self._broker.deliver(queue)

    def fill(self, queue: str) -> None:
        """Deliver while the consumer has room."""
        handle = self._handlers.get(queue)
        waiting = self._broker.queues[queue]
        while handle is not None and waiting and self._held_of(queue) < PREFETCH:
            self._tag += 1
            body = waiting.popleft()
            self._unacknowledged[self._tag] = (queue, body)
            message = SimpleNamespace(
                body=body,
                header=SimpleNamespace(properties=Properties()),
                delivery=SimpleNamespace(
                    delivery_tag=self._tag, exchange="wa.commands", routing_key=queue
                ),
            )
            asyncio.get_running_loop().create_task(handle(message))

    def _held_of(self, queue: str) -> int:
        return sum(one == queue for one, _ in self._unacknowledged.values())

    def settle(self, tag: int, *, back: bool = False, dead: bool = False) -> None:
        """Forget a delivery; put it back or aside."""
        queue, body = self._unacknowledged.pop(tag)
        if dead:
            self._broker.dead.append(body)
        if back:
            self._broker.queues[queue].appendleft(body)
        self._broker.deliver(queue)

    def close(self) -> None:
        """Put everything back, in order."""
        self._is_closed = True
        unacknowledged, self._unacknowledged = self._unacknowledged, {}
        for queue, body in reversed(unacknowledged.values()):
            self._broker.queues[queue].appendleft(body)
        for queue in list(self._handlers):
            self._leave(queue)
        for queue, _ in unacknowledged.values():
            self._broker.deliver(queue)
