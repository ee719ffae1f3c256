"""Waiting for a condition, never for a time."""

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar, overload

Found = TypeVar("Found")

PATIENCE_SECONDS = 60.0
"""How long a condition may take on a busy machine; `make bench` measures how long it takes."""


@overload
async def eventually(
    probe: Callable[[], Awaitable[Found]], *, what: str, within: float = ..., every: float = ...
) -> Found: ...


@overload
async def eventually(
    probe: Callable[[], Found], *, what: str, within: float = ..., every: float = ...
) -> Found: ...


async def eventually(
    probe: Callable[[], Found | Awaitable[Found]],
    *,
    what: str,
    within: float = PATIENCE_SECONDS,
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
