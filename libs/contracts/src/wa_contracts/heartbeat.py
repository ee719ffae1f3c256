"""The sign of life of a session-host: published, never stored."""

from datetime import timedelta

from wa_contracts.wire import UtcDatetime, Wire

HEARTBEAT_EVERY = timedelta(seconds=2)
SILENT_AFTER = timedelta(seconds=6)
"""Without a heartbeat for this long, none of a host's sessions counts as working."""


class Heartbeat(Wire):
    """A host lives and owns these partitions, whose state it has published up to now.

    `sessions` counts the sessions of those partitions, `leaving` is set by the last one.
    """

    host: str
    sent_at: UtcDatetime
    partitions: tuple[int, ...]
    sessions: int
    leaving: bool = False
