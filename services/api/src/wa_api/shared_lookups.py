"""Look-ups of the same thing by many at once, made for all of them together."""

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

Found = TypeVar("Found")


class SharedLookups(Generic[Found]):
    """At most two look-ups of a key at once: one that runs, and one for all who came meanwhile.

    Nobody gets an answer from before the question: who comes while a look-up runs waits for the next.
    """

    def __init__(self, look_up: Callable[[Hashable], Awaitable[Found]]) -> None:
        self._look_up = look_up
        self._running: dict[Hashable, asyncio.Task[Found]] = {}
        self._next: dict[Hashable, asyncio.Task[Found]] = {}

    async def find(self, key: Hashable) -> Found:
        """What the look-up finds, or raises."""
        task = self._next.get(key)
        if task is None:
            task = asyncio.create_task(self._run(key, self._running.get(key)))
            task.add_done_callback(_seen)
            self._next[key] = task
        return await asyncio.shield(task)

    async def _run(self, key: Hashable, before: "asyncio.Task[Found] | None") -> Found:
        if before is not None:
            await asyncio.wait([before])
        task = self._next.pop(key)
        self._running[key] = task
        try:
            return await self._look_up(key)
        finally:
            if self._running[key] is task:
                del self._running[key]


def _seen(task: "asyncio.Task[Found]") -> None:
    """Those who asked may be gone: an error that nobody waits for is no news."""
    if not task.cancelled():
        task.exception()
