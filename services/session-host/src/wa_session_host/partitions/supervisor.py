"""Supervisor: holds partitions by leases and runs their parts."""

import asyncio
import random
from dataclasses import dataclass
from functools import partial

import structlog

from wa_contracts.internal.heartbeat import BEATS, SILENT_AFTER, Heartbeat
from wa_contracts.topology import command_queue, control_queue
from wa_runtime.broker import BrokerLink
from wa_runtime.channel_writer import ChannelWriter
from wa_runtime.connection_loss import BrokerConnectionLost
from wa_runtime.deliveries import cancel, consume
from wa_runtime.fault_points import FaultPoint, reach
from wa_runtime.postgres import DATABASE_ERRORS
from wa_runtime.retries import until_available
from wa_session_host.partitions.heartbeats import heartbeat
from wa_session_host.partitions.intake import Intake
from wa_session_host.partitions.partition import Partition, PartitionContext, PartitionPhase
from wa_session_host.publishing.outbox import NotConfirmed
from wa_session_host.store.event_store import RelayCheckpoint
from wa_session_host.store.leases import MARGIN_SECONDS, Claim, Leases
from wa_session_host.store.stored_event import LeaseLost

log = structlog.get_logger()

CHECKPOINT_EVERY_SECONDS = 0.5
CLAIM_EVERY_SECONDS = 1.0
"""Upper limit of the time until a free partition is noticed, for any lease."""
HAND_OVER_PAUSE_SECONDS = 0.1
"""Pause between two partitions that an overloaded host hands over."""
GATHER_READY_SECONDS = 0.1
"""One heartbeat announces all partitions taken over within this time."""
LOADS_AT_ONCE = 2
"""Partitions that load at the same time; the others are held and wait. Loads share a pool with the
look-ups of running partitions."""
DRAIN_SECONDS = 80


@dataclass
class _Held:
    partition: Partition
    task: asyncio.Task[None]
    hand_over: asyncio.Task[None] | None = None
    """The drain and release, once begun. A stop waits for it, whoever began it."""


class Supervisor:
    """Claims, renews, hands over and loses partitions."""

    def __init__(
        self,
        host: str,
        *,
        leases: Leases,
        context: PartitionContext,
        commands: BrokerLink,
        lease_seconds: float,
        stop: asyncio.Event,
    ) -> None:
        """`commands` is the host's consuming connection; `stop` ends `run`."""
        self._host = host
        self._leases = leases
        self._context = context
        self._session = context.session
        self._commands = commands
        self._lease_seconds = lease_seconds
        self._heartbeat_lasts = min(SILENT_AFTER.total_seconds(), lease_seconds - MARGIN_SECONDS)
        self._held: dict[int, _Held] = {}
        self._loading = asyncio.Semaphore(LOADS_AT_ONCE)
        self._rebalancing: asyncio.Task[None] | None = None
        self._deadline = 0.0
        self._announced = asyncio.Event()
        self.reaches_database = False
        """Whether the last renewal, at most a second ago, succeeded."""
        self._stopping = stop

    @property
    def partitions(self) -> list[Partition]:
        return [held.partition for held in self._held.values()]

    async def run(self) -> None:
        """Hold partitions until `stop` is set, then drain and release them."""
        async with asyncio.TaskGroup() as group:
            background = [
                group.create_task(self._session.writer.run()),
                group.create_task(self._save_checkpoints()),
                group.create_task(self._send_heartbeats()),
                group.create_task(self._keep_leases(group)),
                group.create_task(self._watch_deadline()),
            ]
            await self._stopping.wait()
            await self._deregister()
            await self._hand_over_all()
            for task in background:
                task.cancel()
        await self._send_last_heartbeat()

    async def _keep_leases(self, group: asyncio.TaskGroup) -> None:
        while True:
            try:
                async with asyncio.timeout(self._lease_seconds / 2):
                    await self._renew_and_claim(group)
            except DATABASE_ERRORS as error:
                self.reaches_database = False
                self._session.metrics.lease_renewals.labels("failed").inc()
                log.warning("lease_not_renewed", error=repr(error))
            await asyncio.sleep(min(self._lease_seconds / 4, CLAIM_EVERY_SECONDS))

    async def _renew_and_claim(self, group: asyncio.TaskGroup) -> None:
        renewal = await self._leases.renew(
            {number: held.partition.token for number, held in self._held.items()},
            staying=not self._stopping.is_set(),
        )
        self.reaches_database = True
        self._session.metrics.lease_renewals.labels("renewed").inc()
        for number in set(self._held) - renewal.held:
            self._session.metrics.leases_lost.inc()
            log.warning("lease_lost", partition=number)
            await self._drop(number)
        self._deadline = renewal.deadline
        self._session.engines.extend(renewal.deadline)
        if self._stopping.is_set():
            return
        missing = renewal.fair_share - self._remaining()
        if missing > 0:
            claims = await self._leases.claim(missing)
            if claims:
                log.info("partitions_claimed", partitions=[c.partition for c in claims])
            for claim in claims:
                self._start(claim, group)
        elif missing < 0 and (self._rebalancing is None or self._rebalancing.done()):
            self._rebalancing = group.create_task(self._rebalance(renewal.fair_share))

    def _remaining(self) -> int:
        return sum(held.hand_over is None for held in self._held.values())

    async def _rebalance(self, fair_share: int) -> None:
        """Hand over partitions above the fair share one by one, the least loaded first."""
        while self._remaining() > fair_share and not self._stopping.is_set():
            await self._hand_over(self._least_loaded())
            await asyncio.sleep(HAND_OVER_PAUSE_SECONDS)

    async def _watch_deadline(self) -> None:
        """Drop all partitions past the deadline: the engines have ended, another host may own them.

        A separate task, because a renewal may hang on a dead connection beyond the deadline.
        Meanwhile this host would keep the next owner's commands.
        """
        while True:
            await asyncio.sleep(max(self._deadline - _now(), MARGIN_SECONDS))
            if self._held and _now() > self._deadline:
                log.warning("lease_expired", partitions=len(self._held))
                self._session.metrics.leases_lost.inc(len(self._held))
                await asyncio.gather(*(self._drop(number) for number in list(self._held)))

    def _start(self, claim: Claim, group: asyncio.TaskGroup) -> None:
        partition = Partition(claim, self._context)
        task = group.create_task(self._run_partition(partition))
        self._held[claim.partition] = _Held(partition, task)

    async def _run_partition(self, partition: Partition) -> None:
        """Run one partition. Its failure ends no other partition.

        An ended partition's lease is not renewed; the next owner reloads all state.
        """
        try:
            async with self._loading:
                await partition.load()
            ready = asyncio.Event()
            async with asyncio.TaskGroup() as group:
                group.create_task(partition.run(ready))
                await ready.wait()
                if partition.phase is PartitionPhase.RUNNING:
                    self._announced.set()
                    group.create_task(self._consume(partition))
        except* LeaseLost:
            log.warning("partition_lost", partition=partition.number)
        except* DATABASE_ERRORS as errors:
            log.warning("partition_unreachable", partition=partition.number, error=repr(errors))
        except* Exception:
            log.exception("partition_failed", partition=partition.number)
        finally:
            self._session.writer.close_partition(partition.number, partition.token)
            await asyncio.shield(partition.stop_engines())
            held = self._held.get(partition.number)
            if held is not None and held.partition is partition and held.hand_over is None:
                del self._held[partition.number]

    async def _consume(self, partition: Partition) -> None:
        """Consume commands while the partition is held, across broker outages."""
        intake, number = Intake(partition), partition.number
        queues = {control_queue(number): intake.control, command_queue(number): intake.commands}
        async with asyncio.TaskGroup() as group:
            group.create_task(intake.run())
            while True:
                writer = await self._commands.wait_open()
                tags: list[str] = []
                try:
                    for queue, line in queues.items():
                        tags.append(await consume(writer, queue, line.enqueue))
                    await self._commands.wait_lost(writer)
                except BrokerConnectionLost as error:
                    self._commands.reconnect(writer)
                    log.debug("commands_not_consumed", reason=str(error))
                except asyncio.CancelledError:
                    await asyncio.shield(_end_consuming(writer, tags, intake))
                    raise

    def _least_loaded(self) -> int:
        """A partition with the fewest open messages, at random among equals.

        Not the one with the fewest sessions: that would leave the sessions where they are.
        """

        def weight(held: _Held) -> tuple[int, float]:
            owners = held.partition.sessions.values()
            return sum(len(owner.runner) for owner in owners), random.random()  # noqa: S311

        return min(
            (held for held in self._held.values() if held.hand_over is None), key=weight
        ).partition.number

    async def _hand_over(self, number: int) -> None:
        """Drain a partition and release its lease. A second call waits for the first."""
        held = self._held.get(number)
        if held is None:
            return
        if held.hand_over is None:
            held.hand_over = asyncio.create_task(self._drain_and_release(held))
        await asyncio.shield(held.hand_over)

    async def _drain_and_release(self, held: _Held) -> None:
        partition, number = held.partition, held.partition.number
        if partition.phase is not PartitionPhase.LOADING:
            try:
                async with asyncio.timeout(DRAIN_SECONDS):
                    await partition.drain()
                if (checkpoint := partition.relay_checkpoint()) is not None:
                    await self._session.store.save_checkpoints([checkpoint])
            except (TimeoutError, *DATABASE_ERRORS) as error:
                log.warning("drain_incomplete", partition=number, error=repr(error))
        await self._drop(number)
        try:
            await self._leases.release(number, held.partition.token)
        except DATABASE_ERRORS as error:
            log.warning("lease_not_released", partition=number, error=repr(error))
        log.debug("partition_handed_over", partition=number)

    async def _hand_over_all(self) -> None:
        await asyncio.gather(*(self._hand_over(number) for number in list(self._held)))

    async def _drop(self, number: int) -> None:
        held = self._held.pop(number, None)
        if held is not None:
            held.task.cancel()
            await asyncio.wait([held.task])

    async def _save_checkpoints(self) -> None:
        """Save the checkpoints that moved since the last save."""
        saved: dict[int, RelayCheckpoint] = {}
        while True:
            await asyncio.sleep(CHECKPOINT_EVERY_SECONDS)
            checkpoints = [
                checkpoint
                for held in self._held.values()
                if (checkpoint := held.partition.relay_checkpoint()) is not None
                and saved.get(checkpoint.partition) != checkpoint
            ]
            if checkpoints:
                await until_available(
                    "save_relay_checkpoints",
                    partial(self._session.store.save_checkpoints, checkpoints),
                    on=DATABASE_ERRORS,
                )
                reach(FaultPoint.RELAY_MARKED)
                saved.update({one.partition: one for one in checkpoints})

    async def _send_heartbeats(self) -> None:
        said = False
        while True:
            try:
                await self._context.outbox.publish_heartbeat(self._heartbeat(leaving=False))
                said = False
            except NotConfirmed as error:
                if not said:
                    log.info("heartbeat_not_sent", reason=str(error))
                said = True
            await self._wait_next_heartbeat()

    async def _wait_next_heartbeat(self) -> None:
        """Wait until shortly before the last heartbeat expires, or until a partition is ready.

        A partition taken over has no valid heartbeat until the next one.
        """
        try:
            async with asyncio.timeout(self._heartbeat_lasts / BEATS):
                await self._announced.wait()
        except TimeoutError:
            return
        await asyncio.sleep(GATHER_READY_SECONDS)
        self._announced.clear()

    def _heartbeat(self, *, leaving: bool) -> Heartbeat:
        """A heartbeat for the partitions with a published state and a valid lease."""
        announced = [
            held.partition
            for held in self._held.values()
            if held.partition.announced and _now() < self._deadline
        ]
        return heartbeat(
            self._host,
            announced,
            self._session,
            good_for_seconds=self._heartbeat_lasts,
            leaving=leaving,
        )

    async def _deregister(self) -> None:
        """Leave the count of living hosts before the first partition is released."""
        try:
            await self._leases.deregister()
        except DATABASE_ERRORS as error:
            log.info("not_signed_out", error=repr(error))

    async def _send_last_heartbeat(self) -> None:
        try:
            await self._context.outbox.publish_heartbeat(self._heartbeat(leaving=True))
        except NotConfirmed as error:
            log.info("left_without_goodbye", reason=str(error))


def _now() -> float:
    """Seconds of the monotonic clock."""
    return asyncio.get_running_loop().time()


async def _end_consuming(writer: ChannelWriter, tags: list[str], intake: Intake) -> None:
    try:
        for tag in tags:
            await cancel(writer, tag)
    except BrokerConnectionLost as error:
        log.info("consumer_not_cancelled", reason=str(error))
    intake.requeue_unacked()
