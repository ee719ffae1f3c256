"""Combines concurrent look-ups into one statement."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Generic, TypeVar

Key = TypeVar("Key")
Found = TypeVar("Found")

LONGEST_PAUSE_SECONDS = 0.005
"""Longest pause between two look-ups under load, so that more keys share a statement."""


class SharedLookups(Generic[Key, Found]):
    """Runs one look-up at a time, for all keys requested during the previous one.

    A look-up starts after its request, so results are never stale. A lone request runs at once.
    Under load, a look-up waits as long as the previous one took, at most LONGEST_PAUSE_SECONDS.
    """

    def __init__(
        self, look_up: Callable[[Collection[Key]], Awaitable[Mapping[Key, Found]]]
    ) -> None:
        """`look_up` returns the found values by key."""
        self._look_up = look_up
        self._requested: list[Key] = []
        self._next: asyncio.Task[Mapping[Key, Found]] | None = None
        self._end: asyncio.Future[None] | None = None
        self._last_duration = 0.0

    async def find(self, key: Key) -> Found | None:
        """The value for the key, or None. Raises what the look-up raises."""
        if self._end is None and self._next is None:
            return (await self._run({key})).get(key)
        self._requested.append(key)
        if self._next is None:
            self._next = asyncio.create_task(self._run_next())
            self._next.add_done_callback(_retrieve_exception)
        found = await asyncio.shield(self._next)
        return found.get(key)

    async def _run_next(self) -> Mapping[Key, Found]:
        if self._end is not None:
            await asyncio.wait([self._end])
        if len(self._requested) > 1:
            await asyncio.sleep(min(self._last_duration, LONGEST_PAUSE_SECONDS))
        requested, self._requested, self._next = self._requested, [], None
        return await self._run(set(requested))

    async def _run(self, keys: Collection[Key]) -> Mapping[Key, Found]:
        loop = asyncio.get_running_loop()
        began = loop.time()
        self._end = end = loop.create_future()
        try:
            return await self._look_up(keys)
        finally:
            self._end = None
            self._last_duration = loop.time() - began
            end.set_result(None)


def _retrieve_exception(task: "asyncio.Task[Mapping[Key, Found]]") -> None:
    """Retrieve the exception: all requesters may be gone."""
    if not task.cancelled():
        task.exception()
