"""When a paced session may send next."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from wa_contracts.ids import SessionId
from wa_session_host.domain.pacing import LONGEST, SHORTEST, Pace, PaceRule, SendHistory

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
MIDNIGHT = datetime(2026, 3, 2, tzinfo=UTC)
SESSION = SessionId(UUID(int=1))


class Clock:
    """Stands still until it is moved."""

    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> datetime:
        return self.now


def pace(clock: Clock, rule: PaceRule, before: SendHistory, drawn: float = 1.0) -> Pace:
    """With a jitter that always draws the same."""

    def jitter(shortest: float, longest: float) -> float:
        assert (shortest, longest) == (SHORTEST, LONGEST)
        return drawn

    return Pace(rule, before, clock=clock, jitter=jitter)


NOTHING = SendHistory(0, None)


def test_without_limits_nothing_waits_and_nothing_is_shown() -> None:
    free = pace(Clock(), PaceRule(), SendHistory(10_000, NOON))
    for _ in range(100):
        free.count_send()
        assert free.due_at() is None
        assert free.seconds_left() == 0
    assert free.to_contract(SESSION) is None


@pytest.mark.parametrize("drawn", [SHORTEST, 1.0, LONGEST])
def test_a_rate_keeps_sends_apart_by_a_time_that_varies(drawn: float) -> None:
    clock = Clock()
    paced = pace(clock, PaceRule(per_minute=6), NOTHING, drawn)
    assert paced.due_at() is None
    paced.count_send()
    assert paced.due_at() == NOON + timedelta(seconds=10 * drawn)
    assert paced.seconds_left() == 10 * drawn
    clock.now += timedelta(seconds=10 * drawn)
    assert paced.due_at() is None


def test_a_daily_cap_waits_for_midnight_by_utc() -> None:
    clock = Clock()
    paced = pace(clock, PaceRule(per_day=2), SendHistory(1, NOON))
    assert paced.due_at() is None
    paced.count_send()
    assert paced.due_at() == MIDNIGHT
    clock.now = MIDNIGHT
    assert paced.due_at() is None
    paced.count_send()
    paced.count_send()
    assert paced.due_at() == MIDNIGHT + timedelta(days=1)


def test_a_new_owner_goes_on_where_the_former_was() -> None:
    paced = pace(Clock(), PaceRule(per_minute=6, per_day=5), SendHistory(4, NOON))
    assert paced.due_at() == NOON + timedelta(seconds=10)
    shown = paced.to_contract(SESSION)
    assert shown is not None
    assert (shown.sent_today, shown.per_minute, shown.per_day) == (4, 6, 5)
    assert shown.next_send_at == NOON + timedelta(seconds=10)
