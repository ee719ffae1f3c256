"""Consumes events from a queue and writes them in batches."""

import asyncio
from collections import Counter, deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from typing import NoReturn

import asyncpg
import structlog

from wa_api.database.pool import DatabaseUnavailable
from wa_api.projecting.event_message import EventMessage, read_message
from wa_api.projecting.metrics import ProjectorMetrics
from wa_api.projecting.order import Arrival
from wa_api.projecting.writer import ProjectionWriter, Written
from wa_runtime.connection_loss import BrokerConnectionLost
from wa_runtime.deliveries import Delivery
from wa_runtime.fault_points import FaultPoint, are_set, reach
from wa_runtime.retries import until_available
from wa_runtime.traces import shared_span, stored_contexts

log = structlog.get_logger()

BATCH = 1000
"""Events per batch. Locks, checkpoints, session rows and the commit cost the same for any batch
size."""
AHEAD = BATCH
"""Events decoded while a batch is being written, about 3 KB each."""
GATHER_SECONDS = 0.1
"""Pause between batches, skipped when the next batch is full or the prefetch is used up. Writing
costs per batch, not per event."""


def _nothing(_: object) -> None:
    pass


class EventIntake:
    """Consumer of one event queue. Single events and bundles are written in queue order.

    An event that cannot be decoded or stored is skipped in its session's order. Its message is
    rejected, and dead-lettered if the queue has a dead-letter exchange.
    """

    def __init__(
        self,
        *,
        writer: ProjectionWriter,
        metrics: ProjectorMetrics,
        prefetch: int,
        on_ahead: Callable[[], None] = lambda: None,
        on_marker: Callable[[Delivery], None] = _nothing,
    ) -> None:
        """`prefetch` is the channel's prefetch count.

        `on_ahead` is called when there is a gap, `on_marker` when all before a marker is written.
        """
        self._writer = writer
        self._metrics = metrics
        self._prefetch = prefetch
        self._on_ahead = on_ahead
        self._on_marker = on_marker
        self._unread: deque[Delivery] = deque()
        self._arrived: asyncio.Queue[EventMessage] = asyncio.Queue()
        self._waiting = 0
        self._written_at = float("-inf")
        self._running = asyncio.Event()
        self._running.set()
        self._full = asyncio.Event()
        self.applied = 0

    def accept(self, message: Delivery) -> None:
        """Accept a message. Decodes at once, even while a batch is being written."""
        if self._unread or self._waiting >= AHEAD:
            self._unread.append(message)
        else:
            self._decode(message)
        if self._is_batch_full():
            self._full.set()

    def _is_batch_full(self) -> bool:
        """True if waiting longer would not make the next batch larger."""
        held = len(self._unread) + self._arrived.qsize() + 1  # plus the first message of the batch
        return bool(self._unread) or self._waiting >= BATCH or held >= self._prefetch

    def _decode(self, message: Delivery) -> None:
        delivery = read_message(message)
        self._waiting += len(delivery.arrivals)
        self._arrived.put_nowait(delivery)

    def _decode_more(self) -> None:
        """Decode while there is room, one message per loop iteration."""
        if self._unread and self._waiting < AHEAD:
            self._decode(self._unread.popleft())
            asyncio.get_running_loop().call_soon(self._decode_more)

    def forget(self) -> None:
        """Drop undelivered messages after a reconnect: the broker redelivers them."""
        self._unread.clear()
        while not self._arrived.empty():
            self._arrived.get_nowait()
        self._waiting = 0

    async def run(self) -> NoReturn:
        while True:
            self._decode_more()
            batch = await self._next_batch()
            await self._running.wait()
            await self._project(batch)
            self._written_at = asyncio.get_running_loop().time()

    def pause(self) -> None:
        """Stop writing after the current batch, until `resume`."""
        self._running.clear()

    def resume(self) -> None:
        self._running.set()

    async def _next_batch(self) -> list[EventMessage]:
        batch = [await self._arrived.get()]
        await self._wait_until_full(self._written_at + GATHER_SECONDS)
        events = len(batch[0].arrivals)
        self._waiting -= events
        while events < BATCH and len(batch) < BATCH:
            if self._arrived.empty():
                if not self._unread:
                    break
                self._decode(self._unread.popleft())
            batch.append(self._arrived.get_nowait())
            self._waiting -= len(batch[-1].arrivals)
            events += len(batch[-1].arrivals)
        return batch

    async def _wait_until_full(self, deadline: float) -> None:
        self._full.clear()
        if self._is_batch_full() or deadline <= asyncio.get_running_loop().time():
            return
        with suppress(TimeoutError):
            async with asyncio.timeout_at(deadline):
                await self._full.wait()

    async def _project(self, batch: list[EventMessage]) -> None:
        batch = await self._write_batch(batch)
        if any(one.arrivals for one in batch):
            reach(FaultPoint.PROJECTION_STORED)
        for one in batch:
            if one.is_marker:
                self._on_marker(one.message)
        good = [delivery.message for delivery in batch if delivery.fault is None]
        try:
            for delivery in batch:
                if delivery.fault is not None:
                    self._metrics.events.labels("dead_lettered").inc()
                    log.error("event_dead_lettered", reason=delivery.fault)
                    delivery.message.reject(requeue=False)
            if good:
                good[-1].ack(multiple=True)
                if are_set():
                    await good[-1].writer.wait_written()
            reach(FaultPoint.PROJECTION_ACKED)
        except BrokerConnectionLost as error:
            log.info("ack_lost", reason=str(error), note="the events come again and are known then")

    async def _write_batch(self, batch: list[EventMessage]) -> list[EventMessage]:
        """Write the batch; if Postgres refuses it, write event by event to isolate refused ones."""
        try:
            with shared_span(
                "project", stored_contexts(trace for one in batch for trace in one.traces)
            ):
                await self._write([arrival for delivery in batch for arrival in delivery.arrivals])
        except asyncpg.PostgresError as error:
            log.warning("batch_refused", size=len(batch), reason=type(error).__name__)
            return [await self._write_one_by_one(delivery) for delivery in batch]
        return batch

    async def _write_one_by_one(self, delivery: EventMessage) -> EventMessage:
        fault = delivery.fault
        for arrival in delivery.arrivals:
            try:
                await self._write([arrival])
            except asyncpg.PostgresError as error:
                await self._write([arrival._replace(event=None)])
                fault = f"cannot be stored: {type(error).__name__}"
        return delivery._replace(fault=fault)

    async def _write(self, arrivals: Sequence[Arrival]) -> None:
        if arrivals:
            write = partial(self._writer.write, arrivals, self._decode_more)
            written = await until_available("project", write, on=(DatabaseUnavailable,))
            self._count(arrivals, written)

    def _count(self, arrivals: Sequence[Arrival], written: Written) -> None:
        for result, number in (
            ("applied", written.applied),
            ("known", written.known),
            ("ahead", written.ahead),
        ):
            self._metrics.events.labels(result).inc(number)
        self.applied += written.applied
        events = [arrival.event for arrival in arrivals if arrival.event is not None]
        for type_, number in Counter(event.type for event in events).items():
            if type_.startswith("message."):
                self._metrics.messages.labels(type_).inc(number)
        if events:
            age = datetime.now(UTC) - max(event.occurred_at for event in events)
            self._metrics.lag_seconds.set(age.total_seconds())
        if written.ahead:
            self._on_ahead()
