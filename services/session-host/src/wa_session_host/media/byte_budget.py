"""A bound on the bytes that are under way at the same time."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class ByteBudget:
    """First come, first served. What exceeds the limit by itself passes alone."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._taken = 0
        self._turn = asyncio.Lock()
        self._returned = asyncio.Event()

    @asynccontextmanager
    async def taken(self, size: int) -> AsyncIterator[None]:
        """Wait for so many bytes, and hold them inside the block."""
        size = min(size, self._limit)
        async with self._turn:
            while self._taken + size > self._limit:
                self._returned.clear()
                await self._returned.wait()
            self._taken += size
        try:
            yield
        finally:
            self._taken -= size
            self._returned.set()
