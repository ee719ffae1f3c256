"""A short soak, and that its checks would notice each broken promise."""

import uuid
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.faults.clients import Sent
from tests.faults.findings import Findings
from tests.faults.recorder import Recorded
from tests.faults.soak import Plan, soak
from tests.faults.strikes import Strike
from wa_contracts.envelope import Envelope
from wa_contracts.ids import EventId, SessionId
from wa_contracts.session_events import SessionStopped

AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
SESSION = SessionId(uuid.UUID(int=1))
MESSAGE = str(uuid.UUID(int=2))
PLAN = Plan(messages=1200, sessions=12, at_once=12, pause=2.0, seed=7, kinds=4)


@pytest.mark.timeout(1200)
async def test_nothing_is_lost_and_nothing_sent_twice_while_strikes_fall(tmp_path: Path) -> None:
    findings = await soak(PLAN, tmp_path)
    assert findings.problems() == [], findings.table()
    assert len({strike.name for strike in findings.strikes}) >= PLAN.kinds, findings.table()


def row(sequence: int | None, type_: str, stream: str = f"message-{MESSAGE}") -> dict[str, Any]:
    """A stored event."""
    return {
        "session_id": SESSION,
        "session_sequence": sequence,
        "stream": stream,
        "type": type_,
        "occurred_at": AT,
    }


def consumed(sequence: int) -> Envelope:
    """A consumed event."""
    return Envelope(
        id=EventId(uuid.uuid4()),
        type=SessionStopped.TYPE,
        version=1,
        session_id=SESSION,
        session_sequence=sequence,
        stream="s",
        stream_version=1,
        occurred_at=AT,
        correlation_id=uuid.uuid4(),
        causation_id=uuid.uuid4(),
        data=SessionStopped(),
    )


def whole() -> Findings:
    """One message, sent and seen from every side."""
    answer = {"id": MESSAGE, "messageId": "3EB01", "success": True}
    return Findings(
        strikes=[],
        sent=[Sent(str(SESSION), "message-0", 0, 1, [200], [answer])],
        recorded=[Recorded("3EB01", str(SESSION), "message-0")],
        consumed=[consumed(1), consumed(2)],
        stored=[
            row(1, "message.queued"),
            row(None, "message.send_started"),
            row(2, "message.sent"),
        ],
        projected={MESSAGE: {"id": MESSAGE, "status": "sent"}},
    )


def test_a_whole_run_breaks_nothing() -> None:
    assert whole().problems() == []


@pytest.mark.parametrize(
    ("broken", "says"),
    [
        ({"stored": [row(1, "message.queued"), row(2, "x")]}, "ended as []"),
        (
            {
                "stored": [*whole().stored, row(3, "message.failed")],
                "consumed": [consumed(1), consumed(2), consumed(3)],
            },
            "ended as ['sent', 'failed']",
        ),
        ({"recorded": whole().recorded * 2}, "reached WhatsApp 2 times"),
        ({"recorded": []}, "without an ack"),
        ({"recorded": [Recorded("3EB01", str(SESSION), "another")]}, "without an ack"),
        ({"consumed": [consumed(1)]}, "the consumer missed [2]"),
        ({"consumed": [consumed(2), consumed(1)]}, "in another order"),
        ({"stored": [row(1, "message.queued"), row(3, "message.sent")]}, "has gaps"),
        ({"projected": {}}, "None on the page"),
        ({"projected": {MESSAGE: {"id": MESSAGE, "status": "queued"}}}, "queued on the page"),
        (
            {
                "stored": [
                    row(1, "message.queued"),
                    row(None, "message.send_started"),
                    row(2, "message.unknown"),
                ]
            },
            "though nothing struck",
        ),
    ],
)
def test_each_broken_promise_is_noticed(broken: dict[str, Any], says: str) -> None:
    problems = replace(whole(), **broken).problems()
    assert any(says in problem for problem in problems), problems


def test_beside_a_broken_promise_stands_when_what_was_struck_and_what_the_hosts_said() -> None:
    at = AT.timestamp()
    findings = replace(
        whole(),
        strikes=[Strike("api_killed", at + 1, at + 5, frozenset())],
        warnings=["host-0: lease_expired"],
    )
    assert "lease_expired" not in findings.table()
    told = replace(findings, recorded=[]).table()
    assert "03:04:06.000 to 03:04:10.000 api_killed" in told
    assert told.endswith("host-0: lease_expired")


def test_a_confirm_that_never_came_explains_a_message_that_does_not_exist() -> None:
    at = AT.timestamp()
    answer = {"id": MESSAGE, "success": False, "code": "outcome_unknown"}
    findings = replace(
        whole(),
        sent=[Sent(str(SESSION), "message-0", at, at + 9, [500], [answer])],
        recorded=[],
        consumed=[],
        stored=[],
        projected={},
        strikes=[Strike("broker_killed", at + 1, at + 5, frozenset())],
    )
    assert findings.problems() == []
    for strikes in ([], [Strike("api_killed", at + 1, at + 5, frozenset())]):
        assert replace(findings, strikes=strikes).problems(), strikes


def test_unknown_under_a_strike_is_no_broken_promise() -> None:
    at = AT.timestamp()
    findings = replace(
        whole(),
        stored=[row(1, "message.queued"), row(2, "message.unknown")],
        projected={MESSAGE: {"id": MESSAGE, "status": "unknown"}},
        strikes=[Strike("host_killed", at - 1, at + 1, frozenset({str(SESSION)}))],
    )
    assert findings.problems() == []
    elsewhere = Strike("host_killed", at - 1, at + 1, frozenset({"another session"}))
    earlier = Strike("database_killed", at - 9, at - 5, None)
    for strike in (elsewhere, earlier):
        assert replace(findings, strikes=[strike]).problems(), strike
