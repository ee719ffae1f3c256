"""The newest events in memory, read once per notification for all followers.

Followers keep only a position. Those behind the kept events read their own pages.
"""

import asyncio
from bisect import bisect_right

from wa_api.database.notifications import Notifications
from wa_api.database.pool import DatabaseUnavailable
from wa_api.events.feed import BATCH, BATCH_BYTES, EVERYTHING, Feed, FeedEntry, FeedFilter, FeedPage

KEPT = 5_000
KEPT_BYTES = 8 * 1024 * 1024
STALE_SECONDS = 30.0
"""A tail that is unused for longer restarts at the end instead of catching up."""
FAILED_SECONDS = 1.0
"""After a failed read, all reads fail for this time."""


class FeedTail:
    """The events shared by all followers of a process. Methods raise DatabaseUnavailable."""

    def __init__(self, feed: Feed, notifications: Notifications) -> None:
        self._feed = feed
        self._notifications = notifications
        self._reading = asyncio.Lock()
        self._entries: list[FeedEntry] = []
        self._bytes = 0
        self._begin = 0
        self._end = 0
        self._changes_seen = -1
        self._asked_at = float("-inf")
        self._failed_at = float("-inf")

    async def start(self, last_seen: int | None) -> int:
        """The position to follow from: after `last_seen`, or the end.

        A position beyond the end, as after a restore from a backup, means the end.
        """
        await self._renew()
        if last_seen is None:
            return self._end
        if last_seen <= self._end:
            return last_seen
        return min(last_seen, await self._feed.end())

    async def after(self, position: int, wanted: FeedFilter) -> FeedPage:
        """The next matching events after a position."""
        await self._renew()
        if position >= self._begin:
            return self._kept_after(position, wanted)
        end = self._end
        page = await self._feed.after(position, wanted)
        return page if page.more else FeedPage(page.entries, max(page.position, end), more=False)

    def _kept_after(self, position: int, wanted: FeedFilter) -> FeedPage:
        found: list[FeedEntry] = []
        size = 0
        first = bisect_right(self._entries, position, key=lambda entry: entry.position)
        for index in range(first, len(self._entries)):
            entry = self._entries[index]
            if wanted.wants(entry):
                found.append(entry)
                size += len(entry.frame)
            if len(found) == BATCH or size >= BATCH_BYTES:
                return FeedPage(found, entry.position, more=True)
        return FeedPage(found, max(position, self._end), more=False)

    async def _renew(self) -> None:
        """Read new events once after a notification. Concurrent callers share the read."""
        async with self._reading:
            clock = asyncio.get_running_loop().time
            if clock() - self._failed_at < FAILED_SECONDS:
                raise DatabaseUnavailable("a read has just failed")
            is_stale = clock() - self._asked_at > STALE_SECONDS
            changes = self._notifications.changes
            if not is_stale and changes == self._changes_seen:
                self._asked_at = clock()
                return
            try:
                await (self._restart() if is_stale else self._read_new())
            except DatabaseUnavailable:
                self._failed_at = clock()
                raise
            self._changes_seen = changes
            self._asked_at = clock()

    async def _restart(self) -> None:
        self._begin = self._end = await self._feed.end()
        self._entries, self._bytes = [], 0

    async def _read_new(self) -> None:
        more = True
        while more:
            page = await self._feed.after(self._end, EVERYTHING)
            self._entries.extend(page.entries)
            self._bytes += sum(len(entry.frame) for entry in page.entries)
            self._end, more = page.position, page.more
            self._forget()

    def _forget(self) -> None:
        """Drop the oldest entries beyond the limits."""
        dropped = 0
        while len(self._entries) - dropped > KEPT or self._bytes > KEPT_BYTES:
            self._begin = self._entries[dropped].position
            self._bytes -= len(self._entries[dropped].frame)
            dropped += 1
        del self._entries[:dropped]
