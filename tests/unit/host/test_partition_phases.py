"""The phase of a partition decides what may be saved, announced and ended."""

import asyncio
from typing import Any

import pytest

from tests.deadlines import eventually
from tests.unit.host.host_bench import claim, running_host
from wa_session_host.partitions import supervisor as supervisor_module
from wa_session_host.partitions.partition import Partition, PartitionPhase
from wa_session_host.publishing.relay import Relay
from wa_session_host.store.stored_event import StoredEvent


@pytest.fixture(autouse=True)
def _quick_checkpoints(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor_module, "CHECKPOINT_EVERY_SECONDS", 0.01)


async def test_a_partition_that_loads_saves_no_checkpoint() -> None:
    """A checkpoint without the queued messages would hide them from every later owner."""
    async with running_host(claim(3, relayed=100_000)) as host:
        await host.store.loading.wait()
        [partition] = host.supervisor.partitions
        assert partition.relay_checkpoint() is None
        host.store.may_load.set()
        running = PartitionPhase.RUNNING
        await eventually(lambda: partition.phase is running, what="it runs")
        await eventually(lambda: bool(host.store.saved), what="a checkpoint")


async def test_a_stop_while_a_partition_loads_keeps_the_former_owners_checkpoint() -> None:
    async with running_host(claim(3, relayed=100_000)) as host:
        await host.store.loading.wait()
        host.stop.set()
        await asyncio.wait_for(host.running, 10)
        assert host.store.saved == []
        assert host.leases.released == [3]


async def test_few_partitions_load_at_a_time_and_all_are_renewed_meanwhile(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(supervisor_module, "CLAIM_EVERY_SECONDS", 0.01)
    numbers = frozenset(range(6))
    async with running_host(*map(claim, numbers)) as host:
        at_most = supervisor_module.LOADS_AT_ONCE
        await eventually(lambda: host.store.loads_at_once == at_most, what="some of them load")
        await eventually(lambda: numbers in host.leases.renewed, what="all are renewed")
        host.store.may_load.set()

        def all_run() -> bool:
            return all(one.phase is PartitionPhase.RUNNING for one in host.supervisor.partitions)

        await eventually(all_run, what="all run")
        assert host.store.most_loads_at_once == at_most


async def test_a_stop_waits_for_a_partition_that_is_being_handed_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The writer must live until the last drain: the end of a send is stored by it."""
    draining, may_end = asyncio.Event(), asyncio.Event()
    writer_lives: list[bool] = []

    async def drain(partition: Partition) -> None:
        if not draining.is_set():
            draining.set()
            await may_end.wait()
            writer_lives.append(host.writer.is_running)

    monkeypatch.setattr(Partition, "drain", drain)
    async with running_host(claim(1), claim(2)) as host:
        host.store.may_load.set()

        def all_run() -> bool:
            phases = {one.phase for one in host.supervisor.partitions}
            return len(host.supervisor.partitions) == 2 and phases == {PartitionPhase.RUNNING}

        await eventually(all_run, what="both run")
        host.leases.fair_share = 1  # another host joined
        await asyncio.wait_for(draining.wait(), 10)
        host.stop.set()
        await eventually(lambda: len(host.leases.released) == 1, what="the other one")
        may_end.set()
        await asyncio.wait_for(host.running, 10)
        assert writer_lives == [True]
        assert sorted(host.leases.released) == [1, 2]


async def test_a_busy_relay_is_flushed_up_to_what_was_enqueued_before() -> None:
    broker: Any = _Broker()
    relay = Relay(broker, 0, nothing_stored)
    running = asyncio.create_task(relay.run())
    try:
        relay.enqueue([_internal(1)])
        flushed = asyncio.create_task(relay.wait_flushed())
        position = 1
        while not flushed.done():
            position += 1
            relay.enqueue([_internal(position)])
            await asyncio.sleep(0)
            assert position < 100_000, "it waits for a moment without any event"
    finally:
        running.cancel()


async def nothing_stored(*_: object) -> list[StoredEvent]:
    """All events are in memory."""
    return []


class _Broker:
    """Confirms at once."""

    def raise_if_unconfirmed(self, _: object) -> None:
        """It is confirmed."""


def _internal(position: int) -> Any:
    """An event that is not published: it moves the checkpoint alone."""
    return _Stored(position)


class _Stored:
    reply_to = None
    data_json = "{}"
    session_sequence = None
    traceparent = None
    type = "message.send_started"
    occurred_at = None

    def __init__(self, position: int) -> None:
        self.position = position
