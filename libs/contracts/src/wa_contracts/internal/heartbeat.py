"""The sign of life of a session-host: published, never stored."""

from datetime import timedelta

from wa_contracts.ids import SessionId
from wa_contracts.wire import UtcDatetime, Wire

SILENT_AFTER = timedelta(seconds=6)
"""The longest time for which one heartbeat says that its host lives."""
BEATS = 3
"""How many heartbeats a host sends in the time for which one is good."""


class SessionPace(Wire):
    """How fast a session may send, where that is limited. Days are those of UTC.

    `next_send_at` is None if it may send now.
    """

    session_id: SessionId
    next_send_at: UtcDatetime | None
    sent_today: int
    per_minute: float | None
    per_day: int | None


class Heartbeat(Wire):
    """A host lives and owns these partitions, whose state it has published up to now.

    `sessions` counts the sessions of those partitions, `paces` has those that are paced, `leaving` is
    set by the last one. Without another one within `good_for_seconds` none of the host's sessions
    counts as working.
    """

    host: str
    sent_at: UtcDatetime
    partitions: tuple[int, ...]
    sessions: int
    good_for_seconds: float
    leaving: bool = False
    paces: tuple[SessionPace, ...] = ()
