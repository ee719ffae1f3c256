"""When a delivery is tried again, and which session's turn it is: without time and without I/O."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from wa_api.webhooks.delivering.attempt import Attempt
from wa_api.webhooks.delivering.ordered_queues import OrderedQueues
from wa_api.webhooks.delivering.retry_rule import (
    JITTER,
    GivenUpReason,
    GiveUp,
    Next,
    Pause,
    PauseReason,
    RetryRule,
    TryAgain,
)

RULE = RetryRule(first=timedelta(seconds=5), longest=timedelta(hours=1), window=timedelta(hours=24))
BEGAN = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
ONE, TWO = UUID(int=1), UUID(int=2)


def after(
    seconds: float, *, status: int = 500, retry_after: float | None = None, chance: float = 0.5
) -> Next:
    """What follows a failure so long after the first one."""
    return RULE.after(
        Attempt(status, "It failed.", 0.1, retry_after),
        now=BEGAN + timedelta(seconds=seconds),
        tried_since=BEGAN,
        failing_since=BEGAN + timedelta(seconds=1),
        chance=chance,
    )


def delay(seconds: float, **about: float) -> float:
    """Until the next attempt."""
    found = after(seconds, **about)  # type: ignore[arg-type]
    assert isinstance(found, TryAgain)
    return (found.at - BEGAN).total_seconds() - seconds


def test_delays_grow_to_an_hour() -> None:
    assert [delay(at) for at in (0, 5, 10, 20, 3000, 50_000)] == [5, 5, 10, 20, 3000, 3600]


def test_delays_are_spread() -> None:
    assert delay(100, chance=0) == 100 * (1 - JITTER)
    assert delay(100, chance=1) == 100 * (1 + JITTER)


def test_retry_after_is_heeded_within_bounds() -> None:
    assert delay(0, retry_after=60) == 60
    assert delay(20, retry_after=1) == 20
    assert delay(0, retry_after=1e6) == 3600


def test_the_last_attempt_is_at_the_end_of_the_day() -> None:
    assert delay(86_000) == 400
    assert after(86_400) == GiveUp(GivenUpReason.RETRIES_EXHAUSTED)


def test_with_nothing_else_delivered_either_the_endpoint_is_paused() -> None:
    found = RULE.after(
        Attempt(None, "It cannot be connected to.", 5),
        now=BEGAN + RULE.window,
        tried_since=BEGAN,
        failing_since=BEGAN,
        chance=0.5,
    )
    assert found == Pause(PauseReason.UNREACHABLE)


def test_gone_pauses() -> None:
    assert after(0, status=410) == Pause(PauseReason.GONE)


@pytest.fixture
def queues() -> OrderedQueues:
    """No queues yet."""
    return OrderedQueues()


def test_a_queue_is_acquired_by_one_task_at_a_time(queues: OrderedQueues) -> None:
    queues.add(ONE, 0)
    assert queues.acquire(0) == ONE
    queues.add(ONE, 0)
    assert queues.acquire(0) is None
    queues.release(ONE, None, 1)
    assert queues.acquire(1) == ONE
    queues.release(ONE, None, 2)
    assert (queues.acquire(2), queues.acquired) == (None, 0)


def test_a_new_delivery_does_not_change_when_a_queue_is_due(queues: OrderedQueues) -> None:
    queues.add(ONE, 0)
    queues.acquire(0)
    queues.add(ONE, 0)
    queues.release(ONE, 30, 1)
    queues.add(ONE, 2)
    assert queues.next_at == 30
    assert queues.acquire(29) is None
    queues.make_due(29)
    assert queues.acquire(29) == ONE


def test_the_longest_due_comes_first(queues: OrderedQueues) -> None:
    queues.add(TWO, 2)
    queues.add(ONE, 1)
    assert [queues.acquire(5), queues.acquire(5), queues.acquire(5)] == [ONE, TWO, None]
