"""Limits how many things a client has open at the same time."""

from collections import Counter
from collections.abc import Hashable, Iterator
from contextlib import contextmanager


class TooMany(Exception):
    """The limit is reached."""


class Concurrency:
    """At most `limit` open at the same time for each key."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._open: Counter[Hashable] = Counter()

    def acquire(self, key: Hashable) -> None:
        """Open one more; `release` it later.

        Raises:
            TooMany: The limit is reached; nothing was opened.
        """
        if self._open[key] >= self._limit:
            raise TooMany
        self._open[key] += 1

    def release(self, key: Hashable) -> None:
        self._open[key] -= 1
        if not self._open[key]:
            del self._open[key]

    @contextmanager
    def held(self, key: Hashable) -> Iterator[None]:
        """Hold one during the block.

        Raises:
            TooMany: The limit is reached; the block does not run.
        """
        self.acquire(key)
        try:
            yield
        finally:
            self.release(key)
