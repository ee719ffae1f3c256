"""How much of something one client may have open at the same time."""

from collections import Counter
from collections.abc import Hashable, Iterator
from contextlib import contextmanager


class TooMany(Exception):
    """As many as may be are open already."""


class Concurrency:
    """At most `limit` at the same time for each key."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._open: Counter[Hashable] = Counter()

    def take(self, key: Hashable) -> None:
        """Open one more, to be given back.

        Raises:
            TooMany: nothing was opened.
        """
        if self._open[key] >= self._limit:
            raise TooMany
        self._open[key] += 1

    def give_back(self, key: Hashable) -> None:
        """Close one."""
        self._open[key] -= 1
        if not self._open[key]:
            del self._open[key]

    @contextmanager
    def held(self, key: Hashable) -> Iterator[None]:
        """One more for as long as the block runs.

        Raises:
            TooMany: the block does not run.
        """
        self.take(key)
        try:
            yield
        finally:
            self.give_back(key)
