"""Why a session is in its state, in words for people: what happened, and what comes next."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from wa_api.sessions.views import HOST_SILENT, Session
from wa_contracts.session_events import REACHOUT_TIMELOCK, SessionStatus

AGAIN = "It is tried again by itself."
LINK_AGAIN = "Link the number again."
MESSAGES_WAIT = "Messages wait, and go out afterwards."
NEWER_CLIENT = "Set WHATSAPP_CLIENT_VERSION to auto on the session-hosts, or upgrade the gateway."


@dataclass(frozen=True)
class Reason:
    """`what` begins in lower case, for a place after a colon. `quotes` adds the engine's own words."""

    what: str
    then: str = ""
    quotes: bool = False


_STATES: Mapping[SessionStatus, Reason] = {
    SessionStatus.STARTING: Reason("the session's engine is being started."),
    SessionStatus.SCAN_QR: Reason("waiting for its QR code to be scanned."),
    SessionStatus.CONNECTING: Reason("linked, and logging in to WhatsApp."),
    SessionStatus.WORKING: Reason("connected, with a sign of life from the last seconds."),
    SessionStatus.DISCONNECTED: Reason("the connection is gone.", AGAIN, quotes=True),
    SessionStatus.RESTRICTED: Reason(
        "WhatsApp lets this number pause.", MESSAGES_WAIT, quotes=True
    ),
    SessionStatus.LOGGED_OUT: Reason("the link is gone.", LINK_AGAIN),
    SessionStatus.BANNED: Reason("WhatsApp banned this number.", quotes=True),
    SessionStatus.STOPPED: Reason("stopped by the operator; the link is kept.", "Messages wait."),
    SessionStatus.FAILED: Reason(
        "the session does not go on by itself.", "Restart it.", quotes=True
    ),
}
"""For a state without a reason, or with one that has no words here."""

REASONS: Mapping[SessionStatus, Mapping[str, Reason]] = {
    SessionStatus.STARTING: {
        "created": Reason("new: its engine is being started."),
        "operator": Reason("being started again, as the operator asked."),
        "host_changed": Reason("another session-host is taking it over."),
        "awaiting_host": Reason("waiting for a session-host to take it up."),
    },
    SessionStatus.SCAN_QR: {
        "no_multidevice": Reason(
            "the phone that scanned the code cannot link devices of this kind.",
            "Update WhatsApp on the phone, then scan the code again.",
        ),
    },
    SessionStatus.CONNECTING: {
        "linked": Reason("just linked, and logging in to WhatsApp."),
        "host_changed": Reason("logging in again on another session-host."),
    },
    SessionStatus.DISCONNECTED: {
        HOST_SILENT: Reason(
            "its session-host gives no sign of life.", "Another one takes over, or it comes back."
        ),
        "keepalive_timeout": Reason("keep-alive time-out, WhatsApp does not answer.", AGAIN),
        "connection_lost": Reason("the connection to WhatsApp was lost.", AGAIN),
        "stream_error": Reason("WhatsApp ended the connection.", AGAIN, quotes=True),
        "stream_replaced": Reason(
            "another program took over this link's connection.",
            f"{AGAIN} If this comes back, end the other program, or log out and link again.",
        ),
        "login_timeout": Reason("WhatsApp did not answer the log-in.", AGAIN),
        "deaf": Reason(
            "WhatsApp acknowledged none of the last messages.",
            "A new connection is made by itself.",
        ),
        "connect_failed": Reason("WhatsApp cannot be reached.", AGAIN, quotes=True),
        "linking_interrupted": Reason(
            "the connection to WhatsApp was lost while linking.", "A new code comes by itself."
        ),
        "whatsapp_unavailable": Reason(
            "WhatsApp is not available now.", "A new code comes by itself."
        ),
        "connect_failure": Reason("WhatsApp refused the connection.", AGAIN, quotes=True),
        "engine_ended": Reason(
            "the session's engine ended.", "Another one is started by itself.", quotes=True
        ),
        "client_outdated": Reason(
            "the engine's client version is outdated.",
            f"{MESSAGES_WAIT} {NEWER_CLIENT} The session comes back by itself.",
            quotes=True,
        ),
        "engine_silent": Reason(
            "the session's engine did not answer any more.", "Another one is started by itself."
        ),
    },
    SessionStatus.RESTRICTED: {
        REACHOUT_TIMELOCK: Reason(
            "WhatsApp lets this number open no new chats for now.",
            "First messages wait and are tried again by themselves. All other messages go out.",
        ),
        "send_to_too_many_people": Reason(
            "WhatsApp restricts this number for a while: it wrote to too many people.",
            MESSAGES_WAIT,
        ),
        "blocked_by_users": Reason(
            "WhatsApp restricts this number for a while: too many people blocked it.",
            MESSAGES_WAIT,
        ),
        "created_too_many_groups": Reason(
            "WhatsApp restricts this number for a while: it made too many groups.", MESSAGES_WAIT
        ),
        "sent_too_many_same_message": Reason(
            "WhatsApp restricts this number for a while: it sent the same message too often.",
            MESSAGES_WAIT,
        ),
        "broadcast_list": Reason(
            "WhatsApp restricts this number for a while: it sent too much to broadcast lists.",
            MESSAGES_WAIT,
        ),
    },
    SessionStatus.LOGGED_OUT: {
        "operator": Reason("logged out here.", LINK_AGAIN),
        "phone": Reason("unlinked on the phone.", LINK_AGAIN),
        "whatsapp": Reason("WhatsApp removed the link.", LINK_AGAIN, quotes=True),
    },
    SessionStatus.BANNED: {
        "locked": Reason(
            "WhatsApp locked this account or logged its phone out.",
            "Open WhatsApp on the phone, then link the number again.",
        ),
        "banned": Reason(
            "WhatsApp banned this number.", "WhatsApp on its phone says whether it can be reviewed."
        ),
    },
    SessionStatus.FAILED: {
        "qr_expired": Reason(
            "nobody scanned the QR code, or typed its pairing code, in time.",
            "Ask for a new one. If the phone showed an error, such as too many linked devices, "
            "see to it first.",
        ),
        "pairing_failed": Reason(
            "WhatsApp refused to link this device.",
            "Ask for a new code. The phone must have room for it.",
            quotes=True,
        ),
        "stale_code": Reason(
            "the phone scanned a code of an earlier attempt.", "Scan the code that is shown now."
        ),
        "passkey_required": Reason(
            "WhatsApp demands a passkey to link this number, which no gateway can give.",
            "On the phone, remove the passkey in Settings, Account, Passkeys, or link another "
            "number. Then try again.",
        ),
        "linking_unauthorized": Reason(
            "WhatsApp did not accept this device.", "Try again with a new code.", quotes=True
        ),
        "linking_restricted": Reason(
            "WhatsApp restricts linking for a while.",
            "Wait that long, then try again.",
            quotes=True,
        ),
        "linking_locked": Reason(
            "WhatsApp locked this account.",
            "Open WhatsApp on the phone and follow it, then try again.",
            quotes=True,
        ),
        "linking_banned": Reason(
            "WhatsApp banned this number or device.",
            "WhatsApp on its phone says whether it can be reviewed.",
            quotes=True,
        ),
        "linking_client_rejected": Reason(
            "WhatsApp rejects the name or kind of this client.", NEWER_CLIENT, quotes=True
        ),
        "linking_refused": Reason(
            "WhatsApp refused to link a device.", "Try again later.", quotes=True
        ),
        "client_outdated": Reason(
            "the engine's client version is outdated.",
            f"{NEWER_CLIENT} Then try again.",
            quotes=True,
        ),
    },
}
"""By the `statusReason` that the owner of the session gives."""

OUT_OF_REACH = frozenset(
    {
        *("keepalive_timeout", "connection_lost", "login_timeout", "connect_failed"),
        *("linking_interrupted", "whatsapp_unavailable"),
    }
)
"""The reasons that mean: the host does not reach WhatsApp."""

NOT_LINKED: Mapping[str, str] = {
    "qr_expired": "The QR code expired",
    "stale_code": "An old code was scanned",
    "passkey_required": "A passkey is required",
    "client_outdated": "The client version is outdated",
    "linking_restricted": "Linking is restricted for a while",
    "linking_locked": "The account is locked",
    "linking_banned": "Banned by WhatsApp",
}
"""Headings of the dialog for links that failed."""


def not_linked(session: Session) -> str:
    """The heading for a link that failed."""
    return NOT_LINKED.get(session.status_reason or "", "Linking was refused")


def cause(session: Session) -> str:
    """Why, for a place after a colon: it begins in lower case."""
    return _said(session.status, session.status_reason, session.last_error)


def reason(session: Session) -> str:
    """One to three sentences about why the session is in its state."""
    return _capitalised(cause(session))


def past_reason(event_type: str, data: Mapping[str, Any]) -> str:
    """What happened, for an event of the session's history; "" where its name says all."""
    kind = event_type.removeprefix("session.")
    code, error = data.get("reason"), data.get("message") or ""
    if kind not in set(SessionStatus) or code is None:
        return ""
    known = REASONS.get(SessionStatus(kind), {}).get(code)
    if known is None:
        return error or code.replace("_", " ")
    quoted = f" {error}" if known.quotes and not _says(known.what, error) else ""
    return _capitalised(known.what) + quoted


def _said(status: SessionStatus, code: str | None, error: str | None) -> str:
    known = REASONS.get(status, {}).get(code or "", _STATES[status])
    quoted = error if known.quotes and error and not _says(known.what, error) else ""
    return " ".join(part for part in (known.what, quoted, known.then) if part)


def _says(what: str, error: str) -> bool:
    return error.rstrip(".").lower() in what.lower()


def _capitalised(text: str) -> str:
    return text[:1].upper() + text[1:]
