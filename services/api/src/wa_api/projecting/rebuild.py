"""Rebuilds the read tables from the hosts' event stores while the old tables serve.

The hosts replay their partitions into the rebuild's own queue, which also receives live bundles. A
shadow writer fills the shadow tables. When the queue is drained, the projector is blocked for a
moment, the shadow catches up, and the tables are swapped.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import NoReturn
from uuid import UUID

import asyncpg
import structlog
from aio_pika.exceptions import ChannelNotFoundEntity, DeliveryError

from wa_api.database.notifications import CHANNEL
from wa_api.database.pool import Database, DatabaseUnavailable
from wa_api.owners.command_bus import BrokerUnavailable, CommandBus, ConfirmLost
from wa_api.projecting import shadow_tables
from wa_api.projecting.event_message import FENCE
from wa_api.projecting.gap_requests import GapRequests
from wa_api.projecting.intake import EventIntake
from wa_api.projecting.metrics import ProjectorMetrics
from wa_api.projecting.retention import Retention
from wa_api.projecting.shadow_tables import CannotRebuild, Checked
from wa_api.projecting.writer import LOCK, NOTIFY, SERVING_LOCK, ProjectionWriter
from wa_contracts.codec import decode_partition_replayed
from wa_contracts.ids import CommandId, SessionId, new_id
from wa_contracts.internal.commands import ReplayPartition
from wa_contracts.topology import BUNDLES, PARTITIONS, partition_of
from wa_runtime.broker import BrokerLink
from wa_runtime.channel_writer import DEFAULT_EXCHANGE, ChannelWriter, durable
from wa_runtime.connection_loss import BrokerConnectionLost, translate_connection_errors
from wa_runtime.deliveries import Delivery, consume
from wa_runtime.retries import until_available

log = structlog.get_logger()

AT_ONCE = 4
"""Partitions replayed at the same time. Limits the size of the queue."""
PREFETCH = 50
"""Messages, each a bundle: at most 6 MB."""
QUEUE_EXPIRES_SECONDS = 60
COMMAND_EXPIRES_IN = timedelta(hours=24)
CONFIRM_SECONDS = 10.0
RETRY_SECONDS = 0.5
GAPS_SECONDS = 0.2
CATCH_UP_SECONDS = 3.0
"""Longest time that the projector is blocked while the shadow catches up."""
PROGRESS_SECONDS = 5.0

_NOT_NOW = (
    BrokerUnavailable,
    ConfirmLost,
    DatabaseUnavailable,
    BrokerConnectionLost,
    DeliveryError,
)

QUEUE_LOST = "The broker lost the rebuild's queue. Nothing is changed: start it again."


class NotCaughtUp(Exception):
    """The shadow did not catch up in time. Unblock the projector and try again."""


class Rebuild:
    """One rebuild. Call `open` with each new consuming channel; `run` does the work."""

    def __init__(
        self,
        *,
        serving: Database,
        shadow: Database,
        publish_link: BrokerLink,
        metrics: ProjectorMetrics,
        retention: Retention,
    ) -> None:
        """`serving` and `shadow` are pools on the two schemas. `retention` is the shadow's."""
        self.queue = f"wa.rebuild.{new_id()}"
        self._serving = serving
        self._link = publish_link
        self._bus = CommandBus(publish_link)
        self._retention = retention
        writer = ProjectionWriter(shadow, shadow=True)
        self._gaps = GapRequests(writer=writer, bus=self._bus, metrics=metrics, queue=self.queue)
        self._intake = EventIntake(
            writer=writer, metrics=metrics, prefetch=PREFETCH, on_marker=self._on_marker
        )
        self._markers: dict[UUID, asyncio.Event] = {}
        self._holding: UUID | None = None
        """The fence at which the shadow writer pauses."""
        self._declared = asyncio.Event()
        self._queue_lost = asyncio.Event()
        self._replayed = 0

    async def open(self, writer: ChannelWriter) -> None:
        """Declare the queue, bind it to the live bundles, and consume it.

        After a reconnect the queue must still exist: its messages cannot be replaced.
        """
        self._intake.forget()
        await writer.channel.set_qos(prefetch_count=PREFETCH)
        try:
            queue = await writer.channel.declare_queue(
                self.queue,
                passive=self._declared.is_set(),
                durable=True,
                arguments={
                    # Deleting a quorum queue closes its publishers' connections (RabbitMQ 3.10,
                    # docs/adr/0007). This queue needs no replication.
                    "x-queue-type": "classic",
                    "x-expires": QUEUE_EXPIRES_SECONDS * 1000,
                },
            )
        except ChannelNotFoundEntity:
            self._queue_lost.set()
            raise
        await queue.bind(BUNDLES)
        self._declared.set()
        await consume(writer, self.queue, self._intake.accept)

    async def run(self, ends: Mapping[str, asyncio.Event]) -> None:
        """Rebuild and swap, unless an event in `ends` is set first.

        Raises:
            CannotRebuild: Stopped, with the key in `ends` as the reason. Nothing is changed.
        """
        reasons = {QUEUE_LOST: self._queue_lost, **ends}
        waits = {asyncio.create_task(end.wait()) for end in reasons.values()}
        tasks = [
            asyncio.create_task(w)
            for w in (self._rebuild(), self._intake.run(), self._log_progress())
        ]
        try:
            await asyncio.wait({*tasks, *waits}, return_when=asyncio.FIRST_COMPLETED)
            for work in tasks:
                if work.done():
                    await work
                    return
            raise CannotRebuild(next(why for why, end in reasons.items() if end.is_set()))
        finally:
            for task in (*tasks, *waits):
                task.cancel()
            await asyncio.wait({*tasks, *waits})

    async def _rebuild(self) -> None:
        await self._declared.wait()  # without a queue, replays would be unroutable
        log.info("rebuild_started", queue=self.queue)
        await self._replay(range(PARTITIONS))
        log.info("rebuild_replayed", events=self._intake.applied)
        await self._swap_when_caught_up()
        log.info("rebuild_done", events=self._intake.applied)

    async def delete_queue(self) -> None:
        """Delete the queue. If the broker is away, the queue expires after 60 s."""
        writer = self._link.writer
        if writer is None:
            return
        try:
            async with translate_connection_errors():
                await writer.channel.queue_delete(self.queue)
        except BrokerConnectionLost as error:
            log.info("queue_not_deleted", reason=str(error))

    async def _replay(self, partitions: Iterable[int]) -> None:
        """Replay these partitions and wait until the replays are written."""
        gate = asyncio.Semaphore(AT_ONCE)

        async def replay(partition: int) -> None:
            async with gate:
                command = self._command(partition)
                with self._expect_marker(command.id) as reached:
                    await _until_possible(partial(self._publish, command))
                    await reached.wait()
                self._replayed += 1

        async with asyncio.TaskGroup() as group:
            for partition in partitions:
                group.create_task(replay(partition))

    def _command(self, partition: int) -> ReplayPartition:
        now, command_id = datetime.now(UTC), CommandId(new_id())
        return ReplayPartition(
            id=command_id,
            correlation_id=command_id,
            issued_at=now,
            expires_at=now + COMMAND_EXPIRES_IN,
            partition=partition,
            queue=self.queue,
        )

    async def _publish(self, command: ReplayPartition) -> None:
        deadline = asyncio.get_running_loop().time() + CONFIRM_SECONDS
        await self._bus.publish(command, deadline=deadline)

    @contextmanager
    def _expect_marker(self, marker: UUID) -> Iterator[asyncio.Event]:
        reached = self._markers[marker] = asyncio.Event()
        try:
            yield reached
        finally:
            del self._markers[marker]

    def _on_marker(self, message: Delivery) -> None:
        is_fence = message.type == FENCE
        marker = (
            UUID(message.properties.message_id)
            if is_fence
            else decode_partition_replayed(message.body).command_id
        )
        if marker not in self._markers:
            return  # a marker of an abandoned attempt, or a duplicate
        if marker == self._holding:
            self._intake.pause()
        self._markers[marker].set()

    async def _swap_when_caught_up(self) -> None:
        """Swap when the shadow has everything that the serving tables have.

        If the serving tables still claim a higher sequence after a second full replay, that
        sequence never existed. Ignore it.
        """
        refuted: Mapping[UUID, Checked] = {}
        while True:
            await _until_possible(self._close_gaps)
            await _until_possible(self._retention.forget)
            await _until_possible(partial(self._fence, new_id()))
            try:
                more = await self._swap(refuted)
                if not more:
                    return
            except (*_NOT_NOW, *_NOT_YET) as error:
                log.info("swap_not_yet", reason=repr(error))
                self._intake.resume()
                await asyncio.sleep(RETRY_SECONDS)
                continue
            self._intake.resume()
            log.warning("shadow_behind", sessions=len(more))
            await self._replay({partition_of(SessionId(session)) for session in more})
            refuted = {**refuted, **more}

    async def _close_gaps(self) -> None:
        """Close gaps of sessions whose live events arrived before their replay."""
        while True:
            if not await self._gaps.ask():
                return
            await asyncio.sleep(GAPS_SECONDS)

    async def _swap(self, refuted: Mapping[UUID, Checked]) -> Mapping[UUID, Checked]:
        """Swap, or return the sessions for which the serving tables are ahead."""
        async with self._serving.transaction() as connection:
            await connection.execute(LOCK, SERVING_LOCK)
            await self._catch_up()
            behind = await shadow_tables.behind(connection)
            more = {s: checked for s, checked in behind.items() if refuted.get(s) != checked}
            if not more:
                await shadow_tables.swap(connection)
                await connection.execute(NOTIFY, CHANNEL, "")
        return more

    async def _catch_up(self) -> None:
        """Wait until the queue's present content is written, then pause the shadow writer.

        The queue is almost empty. Only an unresponsive broker or database exceeds the limit.
        """
        self._holding = fence = new_id()
        try:
            async with asyncio.timeout(CATCH_UP_SECONDS):
                await self._fence(fence)
        except TimeoutError as error:
            raise NotCaughtUp from error
        finally:
            self._holding = None

    async def _fence(self, fence: UUID) -> None:
        """Publish a fence and wait until everything before it is written."""
        with self._expect_marker(fence) as reached:
            writer = self._link.writer
            if writer is None:
                raise BrokerUnavailable
            properties = durable(FENCE, message_id=str(fence))
            await writer.publish(b"", properties, exchange=DEFAULT_EXCHANGE, key=self.queue)
            await reached.wait()

    async def _log_progress(self) -> NoReturn:
        loop = asyncio.get_running_loop()
        events, at = 0, loop.time()
        while True:
            await asyncio.sleep(PROGRESS_SECONDS)
            rate = (self._intake.applied - events) / (loop.time() - at)
            events, at = self._intake.applied, loop.time()
            log.info(
                "rebuild_progress",
                partitions=f"{self._replayed}/{PARTITIONS}",
                events=events,
                events_per_second=round(rate),
            )


_NOT_YET = (NotCaughtUp, asyncpg.LockNotAvailableError, asyncpg.DeadlockDetectedError)


async def _until_possible(attempt: Callable[[], Awaitable[object]]) -> None:
    """Retry while the broker or the database is unavailable."""
    await until_available("rebuild", attempt, on=_NOT_NOW, event="rebuild_waits")
