"""Consumes the events' queue and has them written, batch by batch; asks for what is missing."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import NoReturn
from uuid import UUID

import asyncpg
import structlog
from aio_pika.abc import AbstractChannel, AbstractIncomingMessage
from pydantic_core import from_json

from wa_api.command_bus import BrokerUnavailable, CommandBus, ConfirmLost
from wa_api.database import DatabaseUnavailable
from wa_api.metrics import ProjectorMetrics
from wa_api.projection_writer import Arrival, ProjectionWriter, Skipped, Written
from wa_contracts.codec import Undecodable, decode_event
from wa_contracts.commands import ReplaySession
from wa_contracts.envelope import Envelope
from wa_contracts.ids import CommandId, SessionId, new_id
from wa_contracts.runtime.broker import ConnectionLost, losses
from wa_contracts.runtime.fault_points import FaultPoint, reach
from wa_contracts.topology import PROJECTOR

log = structlog.get_logger()

BATCH = 500
PREFETCH = 2000
ASK_EVERY_SECONDS = 5.0
ASK_EXPIRES_IN = timedelta(seconds=30)
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.2, 5.0


@dataclass(frozen=True)
class _Delivery:
    message: AbstractIncomingMessage
    arrival: Arrival | None  # None: not even its place in a session's order can be read
    fault: str | None = None


class Projector:
    """One consumer of `wa.projector`. `open` is called with each new channel, `run` does the work."""

    def __init__(
        self, *, writer: ProjectionWriter, bus: CommandBus, metrics: ProjectorMetrics
    ) -> None:
        self._writer = writer
        self._bus = bus
        self._metrics = metrics
        self._arrived: asyncio.Queue[AbstractIncomingMessage] = asyncio.Queue()
        self._gap_found = asyncio.Event()

    async def open(self, channel: AbstractChannel) -> None:
        """Consume on this channel; what an earlier one delivered comes again."""
        while not self._arrived.empty():
            self._arrived.get_nowait()
        await channel.set_qos(prefetch_count=PREFETCH)
        queue = await channel.get_queue(PROJECTOR)
        await queue.consume(self._on_message)

    async def run(self) -> NoReturn:
        """Project until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._ask_for_replays())
            while True:
                await self._project(await self._gathered())
        raise AssertionError("unreachable")

    async def _on_message(self, message: AbstractIncomingMessage) -> None:
        self._arrived.put_nowait(message)

    async def _gathered(self) -> list[_Delivery]:
        messages = [await self._arrived.get()]
        while len(messages) < BATCH and not self._arrived.empty():
            messages.append(self._arrived.get_nowait())
        return [_read(message) for message in messages]

    async def _project(self, batch: list[_Delivery]) -> None:
        batch = await self._written(batch)
        reach(FaultPoint.PROJECTION_STORED)
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
            await self._write([d.arrival for d in batch if d.arrival is not None])
        except asyncpg.PostgresError as error:
            log.warning("batch_refused", size=len(batch), reason=type(error).__name__)
            return [await self._written_alone(delivery) for delivery in batch]
        return batch

    async def _written_alone(self, delivery: _Delivery) -> _Delivery:
        if delivery.arrival is None:
            return delivery
        try:
            await self._write([delivery.arrival])
        except asyncpg.PostgresError as error:
            passed = Skipped(delivery.arrival.session_id, delivery.arrival.session_sequence)
            await self._write([passed])
            return _Delivery(delivery.message, passed, f"cannot be stored: {type(error).__name__}")
        return delivery

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
        events = [arrival for arrival in arrivals if isinstance(arrival, Envelope)]
        for event in events:
            if event.type.startswith("message."):
                self._metrics.messages.labels(event.type).inc()
        if events:
            age = datetime.now(UTC) - max(event.occurred_at for event in events)
            self._metrics.lag_seconds.set(age.total_seconds())
        if written.ahead:
            self._gap_found.set()

    async def _ask_for_replays(self) -> NoReturn:
        """Ask the owners for missing events, at once and then again until they came."""
        asked_at: dict[UUID, float] = {}
        while True:
            try:
                gaps = await self._writer.gaps()
                self._metrics.gaps.set(len(gaps))
                for session_id, sequence in gaps.items():
                    if time.monotonic() - asked_at.get(session_id, -1e9) >= ASK_EVERY_SECONDS:
                        asked_at[session_id] = time.monotonic()
                        await self._ask(SessionId(session_id), sequence)
                asked_at = {s: at for s, at in asked_at.items() if s in gaps}
            except (DatabaseUnavailable, BrokerUnavailable, ConfirmLost) as error:
                log.info("replay_not_asked_yet", reason=type(error).__name__)
            self._gap_found.clear()
            try:
                async with asyncio.timeout(ASK_EVERY_SECONDS):
                    await self._gap_found.wait()
            except TimeoutError:
                continue  # look again all the same: what was asked for may have been lost

    async def _ask(self, session_id: SessionId, sequence: int) -> None:
        now, command_id = datetime.now(UTC), CommandId(new_id())
        command = ReplaySession(
            id=command_id,
            session_id=session_id,
            correlation_id=command_id,
            issued_at=now,
            expires_at=now + ASK_EXPIRES_IN,
            from_sequence=sequence,
            queue=PROJECTOR,
        )
        loop = asyncio.get_running_loop()
        await self._bus.publish(command, deadline=loop.time() + ASK_EVERY_SECONDS)
        log.warning("replay_asked", session_id=str(session_id), from_sequence=sequence)


def _read(message: AbstractIncomingMessage) -> _Delivery:
    try:
        return _Delivery(message, decode_event(message.body))
    except Undecodable as error:
        return _Delivery(message, _place(message.body), str(error))


def _place(body: bytes) -> Skipped | None:
    """The place in its session's order of an event that cannot be read otherwise."""
    try:
        raw = from_json(body)
        session_id, sequence = UUID(raw["sessionId"]), raw["sessionSequence"]
    except (ValueError, TypeError, KeyError, AttributeError):
        return None
    return Skipped(session_id, sequence) if isinstance(sequence, int) else None
