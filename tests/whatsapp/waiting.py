"""Waiting for a condition on the stand-in's state, with a deadline and without polling."""

import asyncio
from collections.abc import Callable


class Changes:
    """Wakes whoever waits for a condition whenever `announce` says that something changed.

    Everything happens on one event loop, so nobody can miss a change.
    """

    def __init__(self) -> None:
        self._waiters: set[asyncio.Future[None]] = set()

    def announce(self) -> None:
        """Say that the state changed."""
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)
        self._waiters.clear()

    async def until(self, condition: Callable[[], bool], timeout: float, what: str) -> None:
        """Return once `condition()` holds.

        Raises TimeoutError, naming `what` was awaited, after `timeout` seconds.
        """
        try:
            async with asyncio.timeout(timeout):
                while not condition():
                    waiter = asyncio.get_running_loop().create_future()
                    self._waiters.add(waiter)
                    await waiter
        except TimeoutError:
            raise TimeoutError(f"waited {timeout} s for {what}") from None
