"""Takes events off a queue, batch by batch, and has them written."""

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
"""Events; what a batch costs beside its events (locks, checkpoints, sessions, a commit) is shared by more."""
AHEAD = BATCH
"""Events that are read while the batch before is being written: the next batch, at some 3 KB each."""
GATHER_SECONDS = 0.1
"""Between two batches, unless the next one is full or the queue may deliver no more: what it costs
depends on batches, not on events."""


def _nothing(_: object) -> None:
    pass


class EventIntake:
    """One consumer of events. Single ones and bundles are written in the order of the queue.

    An event that cannot be read or written is passed over in its session's order; the message that
    it came in is rejected, which puts it with the dead letters where the queue has any.
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
        """`prefetch`: messages that the queue delivers before the first of them is acknowledged.

        `on_ahead`: there is a gap; `on_marker`: all that came before this message is written.
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
        self._going = asyncio.Event()
        self._going.set()
        self._full = asyncio.Event()
        self.applied = 0

    def take(self, message: Delivery) -> None:
        """The consumer's callback. Reads at once, while the batch before is being written."""
        if self._unread or self._waiting >= AHEAD:
            self._unread.append(message)
        else:
            self._read(message)
        if self._is_full():
            self._full.set()

    def _is_full(self) -> bool:
        """Whether waiting for more brings nothing to the next batch."""
        held = len(self._unread) + self._arrived.qsize() + 1  # with the first of the batch
        return bool(self._unread) or self._waiting >= BATCH or held >= self._prefetch

    def _read(self, message: Delivery) -> None:
        delivery = read_message(message)
        self._waiting += len(delivery.arrivals)
        self._arrived.put_nowait(delivery)

    def _read_on(self) -> None:
        """Read what there is room for; each in its own turn, so that nothing else waits long."""
        if self._unread and self._waiting < AHEAD:
            self._read(self._unread.popleft())
            asyncio.get_running_loop().call_soon(self._read_on)

    def forget(self) -> None:
        """The channel is a new one: what an earlier one delivered comes again."""
        self._unread.clear()
        while not self._arrived.empty():
            self._arrived.get_nowait()
        self._waiting = 0

    async def run(self) -> NoReturn:
        """Have batches written until cancelled."""
        while True:
            self._read_on()
            batch = await self._gathered()
            await self._going.wait()
            await self._project(batch)
            self._written_at = asyncio.get_running_loop().time()

    def pause(self) -> None:
        """Write nothing after the present batch, until `resume`."""
        self._going.clear()

    def resume(self) -> None:
        """Go on after `pause`."""
        self._going.set()

    async def _gathered(self) -> list[EventMessage]:
        batch = [await self._arrived.get()]
        await self._until_full(self._written_at + GATHER_SECONDS)
        events = len(batch[0].arrivals)
        self._waiting -= events
        while events < BATCH and len(batch) < BATCH:
            if self._arrived.empty():
                if not self._unread:
                    break
                self._read(self._unread.popleft())
            batch.append(self._arrived.get_nowait())
            self._waiting -= len(batch[-1].arrivals)
            events += len(batch[-1].arrivals)
        return batch

    async def _until_full(self, deadline: float) -> None:
        self._full.clear()
        if self._is_full() or deadline <= asyncio.get_running_loop().time():
            return
        with suppress(TimeoutError):
            async with asyncio.timeout_at(deadline):
                await self._full.wait()

    async def _project(self, batch: list[EventMessage]) -> None:
        batch = await self._written(batch)
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

    async def _written(self, batch: list[EventMessage]) -> list[EventMessage]:
        """Write the batch; one that cannot be stored is found by writing one by one."""
        try:
            with shared_span(
                "project", stored_contexts(trace for one in batch for trace in one.traces)
            ):
                await self._write([arrival for delivery in batch for arrival in delivery.arrivals])
        except asyncpg.PostgresError as error:
            log.warning("batch_refused", size=len(batch), reason=type(error).__name__)
            return [await self._written_alone(delivery) for delivery in batch]
        return batch

    async def _written_alone(self, delivery: EventMessage) -> EventMessage:
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
            write = partial(self._writer.write, arrivals, self._read_on)
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
