"""Waiting for a condition, never for a time; and what a busy machine adds to a time."""

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar, overload

Found = TypeVar("Found")

PATIENCE_SECONDS = 60.0
"""What a deadline leaves to a busy machine beside the time that is promised."""

_PRESSURE = Path("/proc/pressure/cpu")


@overload
async def eventually(
    probe: Callable[[], Awaitable[Found]], *, within: float, what: str, every: float = ...
) -> Found: ...


@overload
async def eventually(
    probe: Callable[[], Found], *, within: float, what: str, every: float = ...
) -> Found: ...


async def eventually(
    probe: Callable[[], Found | Awaitable[Found]],
    *,
    within: float,
    what: str,
    every: float = 0.03,
) -> Found:
    """The probe's first true answer.

    Raises AssertionError, with `what` and the last answer or error, if there is none in time. An
    AssertionError of the probe counts as "not yet".
    """
    deadline = time.monotonic() + within
    while True:
        last: object
        try:
            answer = probe()
            found = await answer if inspect.isawaitable(answer) else answer
            if found:
                return found
            last = found
        except AssertionError as error:
            last = error
        if time.monotonic() >= deadline:
            raise AssertionError(f"not within {within:g} s: {what}; last seen: {last!r}")
        await asyncio.sleep(every)


async def turns(number: int = 50) -> None:
    """Let the event loop run so many rounds: what waits for no time and no I/O has happened then."""
    for _ in range(number):
        await asyncio.sleep(0)


class Stopwatch:
    """How long something takes, without the time in which work waited for a processor.

    Linux counts that time for the whole machine; where it does not, nothing is taken off.
    """

    def __init__(self) -> None:
        self._began, self._stalled = time.monotonic(), _stalled_seconds()

    @property
    def seconds(self) -> float:
        """So far."""
        return time.monotonic() - self._began - (_stalled_seconds() - self._stalled)


def _stalled_seconds() -> float:
    try:
        some = _PRESSURE.read_text().splitlines()[0]
    except OSError:
        return 0.0
    return int(some.rpartition("total=")[2]) / 1e6
