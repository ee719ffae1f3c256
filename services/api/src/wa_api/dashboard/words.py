"""What the dashboard says about states: a word, a tone for its colour, what can be done."""

from collections.abc import Mapping

from wa_contracts.internal.replies import MessageStatus
from wa_contracts.session_events import SessionStatus

WORDS: Mapping[SessionStatus, str] = {
    SessionStatus.STARTING: "Starting",
    SessionStatus.SCAN_QR: "Scan QR",
    SessionStatus.CONNECTING: "Connecting",
    SessionStatus.WORKING: "Working",
    SessionStatus.DISCONNECTED: "Disconnected",
    SessionStatus.RESTRICTED: "Restricted",
    SessionStatus.LOGGED_OUT: "Logged out",
    SessionStatus.BANNED: "Banned",
    SessionStatus.STOPPED: "Stopped",
    SessionStatus.FAILED: "Failed",
}

TONES: Mapping[SessionStatus, str] = {
    SessionStatus.STARTING: "busy",
    SessionStatus.SCAN_QR: "ask",
    SessionStatus.CONNECTING: "busy",
    SessionStatus.WORKING: "good",
    SessionStatus.DISCONNECTED: "warn",
    SessionStatus.RESTRICTED: "warn",
    SessionStatus.LOGGED_OUT: "bad",
    SessionStatus.BANNED: "bad",
    SessionStatus.STOPPED: "idle",
    SessionStatus.FAILED: "bad",
}

LINKABLE = frozenset(
    {
        SessionStatus.STARTING,
        SessionStatus.SCAN_QR,
        SessionStatus.LOGGED_OUT,
        SessionStatus.FAILED,
    }
)
"""Where the dialog with the QR code is the next step."""

MESSAGEABLE = frozenset(SessionStatus) - LINKABLE - {SessionStatus.BANNED} | {
    SessionStatus.STARTING
}
"""Where a message is taken: sent at once, or queued until the session works."""

TICKS: Mapping[MessageStatus, tuple[str, str]] = {
    MessageStatus.SCHEDULED: ("clock", "Scheduled"),
    MessageStatus.QUEUED: ("clock", "Queued"),
    MessageStatus.SENT: ("tick", "Sent"),
    MessageStatus.DELIVERED: ("ticks", "Delivered"),
    MessageStatus.READ: ("ticks-read", "Read"),
    MessageStatus.FAILED: ("cross", "Failed"),
    MessageStatus.UNKNOWN: ("question", "Unknown"),
    MessageStatus.CANCELLED: ("dash", "Cancelled"),
}


def word(status: SessionStatus) -> str:
    """The word for a state."""
    return WORDS[status]


def tone(status: SessionStatus) -> str:
    """Which colours go with a state: good, busy, ask, warn, bad, idle."""
    return TONES[status]
