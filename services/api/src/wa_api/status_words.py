"""What the dashboard says about states: a word, a tone for its colour, and a sentence about the reason."""

from collections.abc import Mapping

from wa_api.views import Session
from wa_contracts.replies import MessageStatus
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

_STATES: Mapping[SessionStatus, str] = {
    SessionStatus.STARTING: "The session's engine is being started.",
    SessionStatus.SCAN_QR: "Waiting for its QR code to be scanned.",
    SessionStatus.CONNECTING: "Linked, and logging in to WhatsApp.",
    SessionStatus.WORKING: "Connected, with a sign of life from the last seconds.",
    SessionStatus.DISCONNECTED: "The connection is gone. It is tried again by itself.",
    SessionStatus.RESTRICTED: "WhatsApp lets this number pause. Messages wait.",
    SessionStatus.LOGGED_OUT: "The link is gone. Link the number again.",
    SessionStatus.BANNED: "WhatsApp banned this number.",
    SessionStatus.STOPPED: "Stopped by the operator; the link is kept. Messages wait.",
    SessionStatus.FAILED: "The session does not go on by itself. Restart it.",
}

_REASONS: Mapping[tuple[SessionStatus, str], str] = {
    (SessionStatus.STARTING, "created"): "New: its engine is being started.",
    (SessionStatus.STARTING, "operator"): "Being started again, as the operator asked.",
    (SessionStatus.STARTING, "host_changed"): "Another session-host is taking it over.",
    (SessionStatus.STARTING, "awaiting_host"): "Waiting for a session-host to take it up.",
    (SessionStatus.CONNECTING, "linked"): "Just linked, and logging in to WhatsApp.",
    (SessionStatus.CONNECTING, "host_changed"): "Logging in again on another session-host.",
    (
        SessionStatus.DISCONNECTED,
        "host_silent",
    ): "Its session-host gives no sign of life. Another one takes over, or it comes back.",
    (SessionStatus.LOGGED_OUT, "operator"): "Logged out here. Link the number again.",
    (SessionStatus.LOGGED_OUT, "phone"): "Unlinked on the phone. Link the number again.",
    (SessionStatus.FAILED, "qr_expired"): "Nobody scanned the QR code in time. Ask for a new one.",
}

_WITH_ERROR = frozenset(
    {
        SessionStatus.DISCONNECTED,
        SessionStatus.RESTRICTED,
        SessionStatus.BANNED,
        SessionStatus.FAILED,
    }
)

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


def reason(session: Session) -> str:
    """One or two sentences about why the session is in its state."""
    said = _REASONS.get((session.status, session.status_reason or ""), _STATES[session.status])
    known = (session.status, session.status_reason) in _REASONS
    if session.last_error and session.status in _WITH_ERROR and not known:
        return f"{said} {session.last_error}"
    return said
