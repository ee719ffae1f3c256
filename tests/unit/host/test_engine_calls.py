"""Questions to WhatsApp: answers are kept for a while, and each session has an allowance."""

from dataclasses import dataclass, field
from typing import Any

import pytest

from wa_contracts.internal.questions import (
    Answer,
    CheckNumbers,
    DescribeGroup,
    ListGroups,
    NumberCheck,
    Question,
)
from wa_contracts.session_events import SessionStatus
from wa_session_host.domain.allowance import Allowance
from wa_session_host.engine.port import AskFailed
from wa_session_host.sessions.engine_calls import ABSENT_SECONDS, PRESENT_SECONDS, EngineCalls


@dataclass
class Engine:
    """Knows the numbers that begin with 1."""

    asked: list[Question] = field(default_factory=list)

    async def ask(self, question: Question) -> Answer:
        """As asked."""
        self.asked.append(question)
        if isinstance(question, CheckNumbers):
            checks = (NumberCheck(number=n, exists=n.startswith("1")) for n in question.numbers)
            return Answer(numbers=tuple(checks))
        return Answer()


@dataclass
class Session:
    """The calls of a session, its engine, and the time."""

    engine: Engine = field(default_factory=Engine)
    status: SessionStatus = SessionStatus.WORKING
    now: float = 0.0

    def __post_init__(self) -> None:
        self.calls = EngineCalls(self.current, lambda: self.now)

    def current(self) -> tuple[Any, SessionStatus]:
        """The engine, if it is logged in."""
        works = self.status is SessionStatus.WORKING
        return self.engine if works else None, self.status

    async def check(self, *numbers: str) -> list[bool]:
        """Which of them exist."""
        answer = await self.calls.ask(CheckNumbers(numbers=numbers))
        return [one.exists for one in answer.numbers]


async def test_a_number_is_asked_about_once_and_an_absent_one_again_soon() -> None:
    session = Session()
    assert await session.check("15550001", "25550001") == [True, False]
    assert await session.check("25550001", "15550001", "15550002") == [False, True, True]
    assert session.engine.asked[1:] == [CheckNumbers(numbers=("15550002",))]
    session.now += ABSENT_SECONDS
    await session.check("15550001", "25550001")
    assert session.engine.asked[2:] == [CheckNumbers(numbers=("25550001",))]
    session.now += PRESENT_SECONDS
    await session.check("15550001")
    assert session.engine.asked[3:] == [CheckNumbers(numbers=("15550001",))]


async def test_only_new_numbers_cost_and_a_refusal_says_when_to_ask_again() -> None:
    session = Session()
    first = tuple(f"1555{number:05}" for number in range(100))
    await session.check(*first)
    await session.check(*first)
    with pytest.raises(AskFailed) as refused:
        await session.check("19990001", "19990002")
    assert refused.value.code == "rate_limited"
    assert refused.value.retry_after_seconds == pytest.approx(2)
    assert len(session.engine.asked) == 1
    session.now += 2
    assert await session.check("19990001", "19990002") == [True, True]


async def test_groups_are_kept_apart_and_for_a_minute() -> None:
    session = Session()
    for _ in range(2):
        await session.calls.ask(ListGroups())
        await session.calls.ask(DescribeGroup(jid="1@g.us"))
    assert session.engine.asked == [ListGroups(), DescribeGroup(jid="1@g.us")]
    session.now += 61
    await session.calls.ask(ListGroups())
    assert len(session.engine.asked) == 3


async def test_a_session_that_does_not_work_is_refused_by_its_state() -> None:
    session = Session(status=SessionStatus.DISCONNECTED)
    with pytest.raises(AskFailed) as refused:
        await session.check("15550001")
    assert refused.value.code == "session_disconnected"
    assert session.engine.asked == []


def test_an_allowance_refills_up_to_its_burst() -> None:
    allowance = Allowance(per_minute=60, burst=10)
    assert allowance.take(10, 0.0) == 0
    assert allowance.take(4, 1.0) == pytest.approx(3)
    assert allowance.take(4, 4.0) == 0
    assert allowance.take(10, 1000.0) == 0
    assert allowance.take(1, 1000.0) == pytest.approx(1)
