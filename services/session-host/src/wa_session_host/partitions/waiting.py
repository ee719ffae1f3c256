"""Messages that are set aside, as heartbeats tell them."""

from collections.abc import Iterable
from itertools import islice

from wa_contracts.internal.heartbeat import WAITING_SHOWN, WaitingMessage
from wa_session_host.partitions.partition import Partition


def waiting_messages(partitions: Iterable[Partition]) -> tuple[WaitingMessage, ...]:
    """Those of these partitions, at most WAITING_SHOWN."""
    owners = (owner for partition in partitions for owner in partition.sessions.values())
    waiting = (
        WaitingMessage(id=one.facts.id, error=one.aside.error, next_try_at=one.aside.until)
        for owner in owners
        for one in owner.runner.set_aside
        if one.aside is not None
    )
    return tuple(islice(waiting, WAITING_SHOWN))
