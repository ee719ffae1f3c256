"""Takes events off a queue, batch by batch, and has them written."""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, NoReturn
from uuid import UUID

import asyncpg
import structlog
from aio_pika.abc import AbstractIncomingMessage
from opentelemetry.context import Context, get_current

from wa_api.database import DatabaseUnavailable
from wa_api.metrics import ProjectorMetrics
from wa_api.projection_order import Arrival
from wa_api.projection_writer import ProjectionWriter, Written
from wa_contracts.bundle import BUNDLE
from wa_contracts.codec import Undecodable, decode_bundle, read_event, read_event_json
from wa_contracts.replay import PARTITION_REPLAYED
from wa_contracts.runtime.broker import ConnectionLost, losses
from wa_contracts.runtime.fault_points import FaultPoint, reach
from wa_contracts.runtime.traces import shared_step
from wa_contracts.wire import BIGGEST

log = structlog.get_logger()

BATCH = 500
GATHER_SECONDS = 0.05
"""Between two batches, unless the next one is full: what it costs depends on batches, not on events."""
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.2, 5.0
FENCE = "rebuild.fence"
"""AMQP type of a message by which a rebuild knows that all before it has been written."""
_MARKERS = {FENCE, PARTITION_REPLAYED}


@dataclass(frozen=True)
class _Delivery:
    """`context` is the trace that the message came in, if there is one."""

    message: AbstractIncomingMessage
    arrivals: Sequence[Arrival] = ()
    fault: str | None = None
    context: Context = field(default_factory=get_current)


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
        on_ahead: Callable[[], None] = lambda: None,
        on_marker: Callable[[AbstractIncomingMessage], None] = _nothing,
    ) -> None:
        """`on_ahead`: there is a gap; `on_marker`: all that came before this message is written."""
        self._writer = writer
        self._metrics = metrics
        self._on_ahead = on_ahead
        self._on_marker = on_marker
        self._arrived: asyncio.Queue[_Delivery] = asyncio.Queue()
        self._waiting = 0
        self._written_at = 0.0
        self._going = asyncio.Event()
        self._going.set()
        self.applied = 0

    async def take(self, message: AbstractIncomingMessage) -> None:
        """The consumer's callback. Reads at once: while the batch before is being written."""
        delivery = _read(message)
        self._waiting += len(delivery.arrivals)
        self._arrived.put_nowait(delivery)

    def forget(self) -> None:
        """The channel is a new one: what an earlier one delivered comes again."""
        while not self._arrived.empty():
            self._arrived.get_nowait()
        self._waiting = 0

    async def run(self) -> NoReturn:
        """Have batches written until cancelled."""
        while True:
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

    async def _gathered(self) -> list[_Delivery]:
        batch = [await self._arrived.get()]
        events = len(batch[0].arrivals)
        self._waiting -= events
        pause = self._written_at + GATHER_SECONDS - asyncio.get_running_loop().time()
        if pause > 0 and events + self._waiting < BATCH:
            await asyncio.sleep(pause)
        while events < BATCH and len(batch) < BATCH and not self._arrived.empty():
            batch.append(self._arrived.get_nowait())
            self._waiting -= len(batch[-1].arrivals)
            events += len(batch[-1].arrivals)
        return batch

    async def _project(self, batch: list[_Delivery]) -> None:
        batch = await self._written(batch)
        if any(one.arrivals for one in batch):
            reach(FaultPoint.PROJECTION_STORED)
        for one in batch:
            if one.message.type in _MARKERS:
                self._on_marker(one.message)
        good = [delivery.message for delivery in batch if delivery.fault is None]
        try:
            async with losses():
                for delivery in batch:
                    if delivery.fault is not None:
                        self._metrics.events.labels("dead_lettered").inc()
                        log.error("event_dead_lettered", reason=delivery.fault)
                        await delivery.message.reject(requeue=False)
                if good:
                    await good[-1].ack(multiple=True)
            reach(FaultPoint.PROJECTION_ACKED)
        except ConnectionLost as error:
            log.info("ack_lost", reason=str(error), note="the events come again and are known then")

    async def _written(self, batch: list[_Delivery]) -> list[_Delivery]:
        """Write the batch; one that cannot be stored is found by writing one by one."""
        try:
            with shared_step("project", (delivery.context for delivery in batch)):
                await self._write([arrival for delivery in batch for arrival in delivery.arrivals])
        except asyncpg.PostgresError as error:
            log.warning("batch_refused", size=len(batch), reason=type(error).__name__)
            return [await self._written_alone(delivery) for delivery in batch]
        return batch

    async def _written_alone(self, delivery: _Delivery) -> _Delivery:
        fault = delivery.fault
        for arrival in delivery.arrivals:
            try:
                await self._write([arrival])
            except asyncpg.PostgresError as error:
                await self._write([replace(arrival, event=None)])
                fault = f"cannot be stored: {type(error).__name__}"
        return replace(delivery, fault=fault)

    async def _write(self, arrivals: Sequence[Arrival]) -> None:
        pause = FIRST_PAUSE_SECONDS
        while arrivals:
            try:
                self._count(arrivals, await self._writer.write(arrivals))
            except DatabaseUnavailable as error:
                if pause == FIRST_PAUSE_SECONDS:
                    log.warning("waiting_for_database", reason=str(error))
                await asyncio.sleep(pause)
                pause = min(pause * 2, LONGEST_PAUSE_SECONDS)
            else:
                return

    def _count(self, arrivals: Sequence[Arrival], written: Written) -> None:
        for result, number in (
            ("applied", written.applied),
            ("known", written.known),
            ("ahead", written.ahead),
        ):
            self._metrics.events.labels(result).inc(number)
        self.applied += written.applied
        events = [arrival.event for arrival in arrivals if arrival.event is not None]
        for event in events:
            if event.type.startswith("message."):
                self._metrics.messages.labels(event.type).inc()
        if events:
            age = datetime.now(UTC) - max(event.occurred_at for event in events)
            self._metrics.lag_seconds.set(age.total_seconds())
        if written.ahead:
            self._on_ahead()


def _read(message: AbstractIncomingMessage) -> _Delivery:
    if message.type in _MARKERS:
        return _Delivery(message)
    arrivals: list[Arrival] = []
    fault = None
    try:
        for raw, predecessor in _events(message):
            try:
                arrivals.append(Arrival.of(read_event(raw), predecessor))
            except Undecodable as error:
                fault = str(error)
                arrivals.extend(_place(raw, predecessor))
    except Undecodable as error:
        fault = str(error)
    return _Delivery(message, arrivals, fault)


def _events(message: AbstractIncomingMessage) -> Iterator[tuple[Any, int | None]]:
    """The envelopes in a message as read from JSON, each with its predecessor where it is said."""
    if message.type == BUNDLE:
        yield from ((one.raw, one.predecessor) for one in decode_bundle(message.body))
        return
    yield read_event_json(message.body), None


def _place(raw: Any, predecessor: int | None) -> list[Arrival]:
    """The place in its session's order of an event that cannot be read otherwise."""
    try:
        session_id, sequence = UUID(raw["sessionId"]), raw["sessionSequence"]
    except (ValueError, TypeError, KeyError, AttributeError):
        return []
    if type(sequence) is not int or not 0 < sequence <= BIGGEST:
        return []
    before = sequence - 1 if predecessor is None else predecessor
    return [Arrival(session_id, sequence, before, None)]
