"""Look-ups that many ask for at once, made for all of them together."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Generic, TypeVar

Key = TypeVar("Key")
Found = TypeVar("Found")

LONGEST_PAUSE_SECONDS = 0.005
"""Between two look-ups while many ask: more of them then share what one costs."""


class SharedLookups(Generic[Key, Found]):
    """One look-up at a time, of all keys that were asked for while the one before ran.

    Nobody gets an answer from before the question: who comes while one runs waits for the next. Who
    asks alone is answered at once; if several wait for the next one, it comes as long after the last
    as that took, LONGEST_PAUSE_SECONDS at most, so that others can join.
    """

    def __init__(
        self, look_up: Callable[[Collection[Key]], Awaitable[Mapping[Key, Found]]]
    ) -> None:
        """`look_up` gives what it finds by key."""
        self._look_up = look_up
        self._asked: list[Key] = []
        self._next: asyncio.Task[Mapping[Key, Found]] | None = None
        self._end: asyncio.Future[None] | None = None
        self._took = 0.0

    async def find(self, key: Key) -> Found | None:
        """What is found for the key, or None; raises what the look-up raises."""
        if self._end is None and self._next is None:
            return (await self._run({key})).get(key)
        self._asked.append(key)
        if self._next is None:
            self._next = asyncio.create_task(self._run_next())
            self._next.add_done_callback(_seen)
        found = await asyncio.shield(self._next)
        return found.get(key)

    async def _run_next(self) -> Mapping[Key, Found]:
        if self._end is not None:
            await asyncio.wait([self._end])
        if len(self._asked) > 1:
            await asyncio.sleep(min(self._took, LONGEST_PAUSE_SECONDS))
        asked, self._asked, self._next = self._asked, [], None
        return await self._run(set(asked))

    async def _run(self, keys: Collection[Key]) -> Mapping[Key, Found]:
        loop = asyncio.get_running_loop()
        began = loop.time()
        self._end = end = loop.create_future()
        try:
            return await self._look_up(keys)
        finally:
            self._end = None
            self._took = loop.time() - began
            end.set_result(None)


def _seen(task: "asyncio.Task[Mapping[Key, Found]]") -> None:
    """Those who asked may be gone: an error that nobody waits for is no news."""
    if not task.cancelled():
        task.exception()
