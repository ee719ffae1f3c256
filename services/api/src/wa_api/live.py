"""Tells those who watch that the projections changed: one listening connection per process."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

import asyncpg
import structlog

log = structlog.get_logger()

CHANNEL = "wa_api_feed"
"""Notified by the projector after each batch; the payload is the feed's newest position."""

RETRY_SECONDS = 1.0


class Watch:
    """One watcher's bell. It rings again for what came while nobody waited."""

    def __init__(self) -> None:
        self._bell = asyncio.Event()
        self.ended = False

    def ring(self) -> None:
        """Something changed, or may have."""
        self._bell.set()

    async def changed(self, seconds: float) -> bool:
        """Wait for the next ring, at most so long; whether it rang."""
        try:
            async with asyncio.timeout(seconds):
                await self._bell.wait()
        except TimeoutError:
            return False
        self._bell.clear()
        return True


class Live:
    """Fans notifications out to all watchers; after a lost connection all are rung, to look again."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._watches: set[Watch] = set()
        self.rings = 0
        """How often the feed changed, or may have."""
        self.listening = False
        """Whether the database tells of changes now."""
        self._draining = False

    @contextmanager
    def watch(self) -> Iterator[Watch]:
        """Be rung during the block."""
        watch = Watch()
        watch.ended = self._draining
        self._watches.add(watch)
        try:
            yield watch
        finally:
            self._watches.discard(watch)

    def drain(self) -> None:
        """The process ends: open streams end too."""
        self._draining = True
        for watch in self._watches:
            watch.ended = True
            watch.ring()

    async def run(self) -> NoReturn:
        """Listen until cancelled."""
        announced = False
        while True:
            try:
                await self._listen()
                announced = False
                log.warning("live_connection_lost")
            except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
                if not announced:
                    log.warning("waiting_for_database", reason=type(error).__name__)
                announced = True
            await asyncio.sleep(RETRY_SECONDS)

    async def _listen(self) -> None:
        connection = await asyncpg.connect(self._url, timeout=5)
        try:
            lost = asyncio.Event()
            connection.add_termination_listener(lambda _: lost.set())
            await connection.add_listener(CHANNEL, self._notified)
            self.listening = True
            log.info("live_connected")
            self._ring_all()
            await lost.wait()
        finally:
            self.listening = False
            connection.terminate()

    def _notified(self, *_: Any) -> None:
        self._ring_all()

    def _ring_all(self) -> None:
        self.rings += 1
        for watch in self._watches:
            watch.ring()
