"""What a host's heartbeats tell about its partitions and its engine."""

from collections.abc import Iterable, Sequence
from itertools import islice

from wa_contracts.internal.heartbeat import WAITING_SHOWN, Heartbeat, HostEngine, WaitingMessage
from wa_session_host.partitions.partition import Partition
from wa_session_host.sessions.context import SessionContext


def heartbeat(
    host: str,
    announced: Sequence[Partition],
    context: SessionContext,
    *,
    good_for_seconds: float,
    leaving: bool,
) -> Heartbeat:
    """A heartbeat for partitions whose state is published."""
    version = context.engines.version
    return Heartbeat(
        host=host,
        sent_at=context.clock(),
        partitions=tuple(partition.number for partition in announced),
        sessions=sum(len(partition.sessions) for partition in announced),
        good_for_seconds=good_for_seconds,
        leaving=leaving,
        paces=tuple(pace for partition in announced for pace in partition.session_paces()),
        waiting=_waiting_messages(announced),
        engine=HostEngine(engine=version.engine, client_version=version.client),
    )


def _waiting_messages(partitions: Iterable[Partition]) -> tuple[WaitingMessage, ...]:
    """Messages that are set aside, at most WAITING_SHOWN."""
    owners = (owner for partition in partitions for owner in partition.sessions.values())
    waiting = (
        WaitingMessage(id=one.facts.id, error=one.aside.error, next_try_at=one.aside.until)
        for owner in owners
        for one in owner.runner.set_aside
        if one.aside is not None
    )
    return tuple(islice(waiting, WAITING_SHOWN))
