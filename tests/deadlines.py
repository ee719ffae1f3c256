"""Waiting for a condition, never for a time."""

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar, overload

Found = TypeVar("Found")


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
