"""Replays: publishes stored events again, to one queue."""

from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial

import structlog

from wa_contracts.ids import SessionId
from wa_contracts.internal.bundle import BUNDLE_BYTES, BUNDLE_EVENTS
from wa_contracts.internal.commands import ReplayPartition, ReplaySession
from wa_contracts.internal.replay import PartitionReplayed
from wa_runtime.fault_points import ReplayPoint, reach
from wa_runtime.retries import until_available
from wa_session_host.publishing.outbox import Following, NoSuchQueue, NotConfirmed, Outbox
from wa_session_host.store.event_store import EventStore
from wa_session_host.store.stored_event import StoredEvent

log = structlog.get_logger()


class Replays:
    """Replays of one partition. They only read, so commands continue."""

    def __init__(self, store: EventStore, outbox: Outbox) -> None:
        self._store = store
        self._outbox = outbox

    async def replay_session(self, command: ReplaySession) -> None:
        """Publish a session's events from a sequence on. The requester repeats a broken replay."""
        session_id, start = command.session_id, command.from_sequence
        before = await self._store.predecessor(session_id, start)
        events = self._store.of_session(session_id, start)
        try:
            async for bundle in bundles(events, {session_id: before}):
                await self._outbox.publish_bundle(bundle, command.queue)
        except NotConfirmed as error:
            log.warning("replay_broken_off", reason=str(error))

    async def replay_partition(self, command: ReplayPartition) -> None:
        """Publish all events of a partition, then the end of the replay."""
        events = self._store.of_partition(command.partition)
        complete = PartitionReplayed(command_id=command.id, partition=command.partition)
        try:
            async for bundle in bundles(events, {}):
                await _until_confirmed(partial(self._outbox.publish_bundle, bundle, command.queue))
                reach(ReplayPoint.BUNDLE_REPLAYED)
            await _until_confirmed(
                partial(self._outbox.publish_replay_complete, complete, command.queue)
            )
        except NoSuchQueue:
            log.info("replay_unwanted", partition=command.partition, queue=command.queue)
        else:
            log.info("partition_replayed", partition=command.partition, queue=command.queue)


async def bundles(
    events: AsyncIterator[StoredEvent], last: dict[SessionId, int]
) -> AsyncIterator[list[Following]]:
    """Bundle events up to a limit of number and size, each with its predecessor's sequence.

    `last` maps sessions to the sequence before their first event; 0 if absent.
    """
    bundle: list[Following] = []
    characters = 0
    async for stored in events:
        assert stored.session_sequence is not None
        bundle.append((last.get(stored.session_id, 0), stored))
        last[stored.session_id] = stored.session_sequence
        characters += len(stored.data_json)
        if len(bundle) == BUNDLE_EVENTS or characters >= BUNDLE_BYTES:
            yield bundle
            bundle, characters = [], 0
    if bundle:
        yield bundle


async def _until_confirmed(publish: Callable[[], Awaitable[None]]) -> None:
    """Publish until confirmed, across broker outages.

    Raises:
        NoSuchQueue: the requester is gone.
    """
    await until_available("replay", publish, on=_may_be_confirmed_later, event="waiting_for_broker")


def _may_be_confirmed_later(error: Exception) -> bool:
    return isinstance(error, NotConfirmed) and not isinstance(error, NoSuchQueue)
