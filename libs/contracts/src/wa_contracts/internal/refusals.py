"""The session states that refuse a send, each with its sentence. All other states queue it."""

from collections.abc import Mapping

from wa_contracts.internal.replies import ErrorDetail
from wa_contracts.session_events import SessionStatus

REFUSALS: Mapping[SessionStatus, str] = {
    SessionStatus.SCAN_QR: "The session is not linked to a number yet: scan its QR code first.",
    SessionStatus.LOGGED_OUT: "The session is logged out: restart it and link the number again.",
    SessionStatus.BANNED: "WhatsApp banned the number of this session.",
    SessionStatus.FAILED: "The session failed and does not go on by itself: restart it.",
}
SESSION_NOT_FOUND = ErrorDetail(code="session_not_found", message="There is no such session.")


def refusal(status: SessionStatus | None) -> ErrorDetail | None:
    """The error of a send in this state, None if the state queues it. No status: no session."""
    if status is None:
        return SESSION_NOT_FOUND
    if status in REFUSALS:
        return ErrorDetail(code=f"session_{status}", message=REFUSALS[status])
    return None
