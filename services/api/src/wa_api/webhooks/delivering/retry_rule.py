"""Decides when a failed delivery is retried. Pure: time and randomness are arguments."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import TypeAlias

from wa_api.webhooks.delivering.attempt import GONE, Attempt

JITTER = 0.25


class PauseReason(StrEnum):
    """Reason for a paused endpoint."""

    OPERATOR = "operator"
    GONE = "gone"
    UNREACHABLE = "unreachable"
    SECRET_UNREADABLE = "secret_unreadable"  # noqa: S105 - a reason, no secret


class GivenUpReason(StrEnum):
    """Reason for a delivery that was given up."""

    RETRIES_EXHAUSTED = "retries_exhausted"
    BACKLOG_FULL = "backlog_full"
    EXPIRED = "expired"
    TEST_FAILED = "test_failed"


@dataclass(frozen=True)
class TryAgain:
    """Retry at this time."""

    at: datetime


@dataclass(frozen=True)
class GiveUp:
    """End this delivery. The next one of its session follows."""

    reason: GivenUpReason


@dataclass(frozen=True)
class Pause:
    """Pause the endpoint. Its deliveries wait."""

    reason: PauseReason


Next: TypeAlias = TryAgain | GiveUp | Pause


@dataclass(frozen=True)
class RetryRule:
    """Exponential backoff from `first` to `longest`, over at most `window`."""

    first: timedelta
    longest: timedelta
    window: timedelta

    def after(
        self,
        failure: Attempt,
        *,
        now: datetime,
        tried_since: datetime,
        failing_since: datetime,
        chance: float,
    ) -> Next:
        """Decide what follows a failure.

        `tried_since` is the delivery's first attempt, `failing_since` the start of its endpoint's
        failures. After a whole window, the delivery is given up, or its endpoint is paused if
        failing for as long. `chance` is from 0 to 1.
        """
        if failure.status == GONE:
            return Pause(PauseReason.GONE)
        end = tried_since + self.window
        if now >= end:
            is_dead = failing_since <= tried_since
            return (
                Pause(PauseReason.UNREACHABLE)
                if is_dead
                else GiveUp(GivenUpReason.RETRIES_EXHAUSTED)
            )
        delay = min(max(now - tried_since, self.first), self.longest)
        delay *= 1 + JITTER * (2 * chance - 1)
        requested = timedelta(seconds=failure.retry_after or 0)
        return TryAgain(min(now + max(delay, min(requested, self.longest)), end))
