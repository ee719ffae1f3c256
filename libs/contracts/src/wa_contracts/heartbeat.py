"""The sign of life of a session-host: published, never stored."""

from datetime import timedelta

from wa_contracts.wire import UtcDatetime, Wire

SILENT_AFTER = timedelta(seconds=6)
"""The longest time for which one heartbeat says that its host lives."""
BEATS = 3
"""How many heartbeats a host sends in the time for which one is good."""


class Heartbeat(Wire):
    """A host lives and owns these partitions, whose state it has published up to now.

    `sessions` counts the sessions of those partitions, `leaving` is set by the last one. Without
    another one within `good_for_seconds` none of the host's sessions counts as working.
    """

    host: str
    sent_at: UtcDatetime
    partitions: tuple[int, ...]
    sessions: int
    good_for_seconds: float
    leaving: bool = False
