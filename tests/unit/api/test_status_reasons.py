"""The sentences about a session's state: every reason that its owner can give has words for people."""

import ast
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import pytest

import wa_session_host
from wa_api.dashboard.reasons import REASONS, not_linked, past_reason, reason
from wa_api.sessions.views import Session
from wa_contracts.session_events import DesiredState, SessionStatus
from wa_session_host.domain.observations import StreamReplaced

OF_OBSERVATIONS = {
    "ConnectionLost": SessionStatus.DISCONNECTED,
    "EngineCrashed": SessionStatus.DISCONNECTED,
    "EngineRefused": SessionStatus.FAILED,
    "LinkRemoved": SessionStatus.LOGGED_OUT,
    "SessionStarting": SessionStatus.STARTING,
    "SessionConnecting": SessionStatus.CONNECTING,
    "SessionFailed": SessionStatus.FAILED,
    "SessionLoggedOut": SessionStatus.LOGGED_OUT,
}
"""What the owner of a session makes, and the state that it leads to."""


def codes_given() -> Iterator[tuple[SessionStatus, str]]:
    """Every reason that stands as a text in session-host's source."""
    yield SessionStatus.DISCONNECTED, StreamReplaced().reason
    for file in Path(wa_session_host.__path__[0]).rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
                continue
            named = [argument.value for argument in node.keywords if argument.arg == "reason"]
            for given in (*named, *node.args[:1]):
                if isinstance(given, ast.Constant) and node.func.id in OF_OBSERVATIONS:
                    yield OF_OBSERVATIONS[node.func.id], str(given.value)


def a_session(status: SessionStatus, code: str | None, error: str | None = None) -> Session:
    """One in that state."""
    return Session(
        session_id=uuid4(),
        name=None,
        phone_number=None,
        status=status,
        status_reason=code,
        desired_state=DesiredState.RUNNING,
        connected_at=None,
        created_at=datetime.now(UTC),
        last_error=error,
    )


def test_every_reason_that_a_session_host_gives_has_words() -> None:
    given = set(codes_given())
    assert (SessionStatus.DISCONNECTED, "keepalive_timeout") in given
    assert (SessionStatus.DISCONNECTED, "deaf") in given
    assert (SessionStatus.FAILED, "pairing_failed") in given
    assert (SessionStatus.FAILED, "passkey_required") in given
    assert (SessionStatus.FAILED, "linking_locked") in given
    assert (SessionStatus.DISCONNECTED, "linking_interrupted") in given
    assert [code for status, code in sorted(given) if code not in REASONS[status]] == []


@pytest.mark.parametrize(
    ("status", "code", "error", "said"),
    [
        (
            *(SessionStatus.DISCONNECTED, "keepalive_timeout"),
            "WhatsApp does not answer keep-alives.",
            "Keep-alive time-out, WhatsApp does not answer. It is tried again by itself.",
        ),
        (
            *(SessionStatus.DISCONNECTED, "connect_failed", "dial tcp: no route to host."),
            "WhatsApp cannot be reached. dial tcp: no route to host. It is tried again by itself.",
        ),
        (
            *(SessionStatus.FAILED, "pairing_failed", "WhatsApp refused to link this device."),
            "WhatsApp refused to link this device. Ask for a new code. The phone must have room for it.",
        ),
        (
            *(SessionStatus.DISCONNECTED, "not_known_yet", "Something new."),
            "The connection is gone. Something new. It is tried again by itself.",
        ),
        (
            *(SessionStatus.DISCONNECTED, "client_outdated"),
            "WhatsApp refuses client version 2.3000.1 (neonize 0.5.2).",
            (
                "The engine's client version is outdated. WhatsApp refuses client version 2.3000.1 "
                "(neonize 0.5.2). Messages wait, and go out afterwards. Set WHATSAPP_CLIENT_VERSION "
                "to auto on the session-hosts, or upgrade the gateway. The session comes back by "
                "itself."
            ),
        ),
        (
            *(SessionStatus.SCAN_QR, "no_multidevice", None),
            (
                "The phone that scanned the code cannot link devices of this kind. Update WhatsApp "
                "on the phone, then scan the code again."
            ),
        ),
        (
            *(SessionStatus.LOGGED_OUT, "whatsapp", "Unofficial apps are not allowed."),
            "WhatsApp removed the link. Unofficial apps are not allowed. Link the number again.",
        ),
        (SessionStatus.STOPPED, None, None, None),
    ],
)
def test_what_happened_and_what_comes_next(
    status: SessionStatus, code: str | None, error: str | None, said: str | None
) -> None:
    sentence = reason(a_session(status, code, error))
    assert sentence == (said or "Stopped by the operator; the link is kept. Messages wait.")


@pytest.mark.parametrize(
    ("event_type", "data", "said"),
    [
        ("session.connecting", {"reason": "linked"}, "Just linked, and logging in to WhatsApp."),
        (
            *("session.disconnected", {"reason": "stream_error", "message": "Stream: 503."}),
            "WhatsApp ended the connection. Stream: 503.",
        ),
        ("session.disconnected", {"reason": "not_known_yet", "message": ""}, "not known yet"),
        ("session.connected", {"phoneNumber": "447911123456"}, ""),
        ("session.qr_issued", {"expiresAt": "…"}, ""),
    ],
)
def test_the_history_says_what_happened(event_type: str, data: dict[str, str], said: str) -> None:
    assert past_reason(event_type, data) == said


def test_a_link_that_failed_has_a_sentence_of_its_own_that_says_what_to_do() -> None:
    failed = REASONS[SessionStatus.FAILED]
    said = {code: reason(a_session(SessionStatus.FAILED, code)) for code in failed}
    assert len(set(said.values())) == len(said)
    assert [code for code, known in failed.items() if not known.then] == []
    headings = {code: not_linked(a_session(SessionStatus.FAILED, code)) for code in failed}
    assert headings["passkey_required"] == "A passkey is required"
    assert headings["linking_refused"] == headings["pairing_failed"] == "Linking was refused"
