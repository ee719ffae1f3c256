"""An event loop whose clock jumps to the next timer as soon as nothing else can run."""

import asyncio
import selectors
from collections.abc import Coroutine, Mapping
from typing import Any, TypeVar

T = TypeVar("T")


class Stuck(Exception):
    """Nothing can run, and no timer is set: something waits for ever."""


class _Selector(selectors.BaseSelector):
    """Waits for no file: a wait moves the loop's clock."""

    def __init__(self, clock: "VirtualTimeLoop") -> None:
        self._files = selectors.DefaultSelector()
        self._clock = clock

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise Stuck
        self._clock.now += max(timeout, 0)
        return self._files.select(0)

    def register(self, *arguments: Any, **named: Any) -> selectors.SelectorKey:
        return self._files.register(*arguments, **named)

    def unregister(self, *arguments: Any) -> selectors.SelectorKey:
        return self._files.unregister(*arguments)

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        return self._files.get_map()

    def close(self) -> None:
        self._files.close()


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """Its seconds pass at once. The order of callbacks is that of a real loop."""

    def __init__(self) -> None:
        self.now = 1_000.0
        super().__init__(_Selector(self))

    def time(self) -> float:
        """Seconds, from 1,000 on."""
        return self.now


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine on a loop of its own, to the end.

    Raises:
        Stuck: it waits for ever.
    """
    loop = VirtualTimeLoop()
    try:
        return loop.run_until_complete(main)
    finally:
        _cancel_all(loop)
        loop.close()


def _cancel_all(loop: asyncio.AbstractEventLoop) -> None:
    """Cancel what is left, again while it resists: a process that was cut off waits in its end."""
    for _ in range(20):
        tasks = asyncio.all_tasks(loop)
        if not tasks:
            return
        for task in tasks:
            task.cancel()
        loop.run_until_complete(asyncio.wait(tasks, timeout=1))
