"""A message that cannot go now: why, and when it is tried again."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from wa_contracts.internal.replies import ErrorDetail

FIRST_PAUSES = {"reachout_timelock": timedelta(minutes=2)}
FIRST_PAUSE = timedelta(seconds=5)
LONGEST_PAUSE = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class SetAside:
    """A message cannot go before `until`, for the reason in `error`; so many tries failed."""

    error: ErrorDetail
    until: datetime
    tries: int


def set_aside(before: SetAside | None, error: ErrorDetail, now: datetime) -> SetAside:
    """After one more failed try; `before` is that of the try before. The pauses double."""
    tries = 1 if before is None else before.tries + 1
    first = FIRST_PAUSES.get(error.code, FIRST_PAUSE)
    pause = min(first * (1 << min(tries - 1, 16)), LONGEST_PAUSE)
    return SetAside(error, now + pause, tries)
