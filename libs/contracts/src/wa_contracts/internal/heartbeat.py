"""Heartbeats of session-hosts: published, never stored."""

from datetime import timedelta

from wa_contracts.ids import MessageId, SessionId
from wa_contracts.internal.replies import ErrorDetail
from wa_contracts.wire import UtcDatetime, Wire

SILENT_AFTER = timedelta(seconds=6)
"""Longest time for which a heartbeat is good."""
WAITING_SHOWN = 200
"""Messages that are set aside, per host, of which a heartbeat tells the reason."""
BEATS = 3
"""Heartbeats sent in the time for which one is good."""


class SessionPace(Wire):
    """Limits of a session's sends. Days are UTC.

    `next_send_at` is None if a send may start now.
    """

    session_id: SessionId
    next_send_at: UtcDatetime | None
    sent_today: int
    per_minute: float | None
    per_day: int | None


class WaitingMessage(Wire):
    """A queued message that cannot go before `next_try_at`, for the reason in `error`."""

    id: MessageId
    error: ErrorDetail
    next_try_at: UtcDatetime


class HostEngine(Wire):
    """A host's engine with its version, and the WhatsApp client version that it states."""

    engine: str
    client_version: str


class Heartbeat(Wire):
    """A host is alive, owns these partitions, and has published their state up to now.

    `sessions` is the number of sessions of those partitions, `paces` lists the paced ones,
    `waiting` at most WAITING_SHOWN of their messages that are set aside. Without `engine` the host
    is of an earlier version.
    `leaving` marks the last heartbeat. Without another heartbeat within `good_for_seconds`, the
    host's sessions no longer count as working.
    """

    host: str
    sent_at: UtcDatetime
    partitions: tuple[int, ...]
    sessions: int
    good_for_seconds: float
    leaving: bool = False
    paces: tuple[SessionPace, ...] = ()
    waiting: tuple[WaitingMessage, ...] = ()
    engine: HostEngine | None = None
