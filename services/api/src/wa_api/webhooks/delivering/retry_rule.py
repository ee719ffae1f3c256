"""When a failed delivery is tried again, and when it no longer is. Pure: time and chance are handed in."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import TypeAlias

from wa_api.webhooks.delivering.attempt import GONE, Attempt

JITTER = 0.25


class PauseReason(StrEnum):
    """Why an endpoint gets nothing for now."""

    OPERATOR = "operator"
    GONE = "gone"
    UNREACHABLE = "unreachable"
    SECRET_UNREADABLE = "secret_unreadable"  # noqa: S105 - a reason, no secret


class GivenUpReason(StrEnum):
    """Why a delivery ended without success."""

    RETRIES_EXHAUSTED = "retries_exhausted"
    BACKLOG_FULL = "backlog_full"
    EXPIRED = "expired"
    TEST_FAILED = "test_failed"


@dataclass(frozen=True)
class TryAgain:
    """At this time."""

    at: datetime


@dataclass(frozen=True)
class GiveUp:
    """This delivery ends; the next one of its session goes on."""

    reason: GivenUpReason


@dataclass(frozen=True)
class Pause:
    """The endpoint is paused; the delivery waits with all others."""

    reason: PauseReason


Next: TypeAlias = TryAgain | GiveUp | Pause


@dataclass(frozen=True)
class RetryRule:
    """Waits about as long again as it has failed already: from `first` to `longest`, over `window`."""

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
        """What follows. `tried_since` is of the delivery, `failing_since` of its endpoint.

        A delivery that found no success for the whole window is given up, unless nothing else did
        either: then the endpoint is dead and all waits. `chance` is from 0 to 1.
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
        asked = timedelta(seconds=failure.retry_after or 0)
        return TryAgain(min(now + max(delay, min(asked, self.longest)), end))
