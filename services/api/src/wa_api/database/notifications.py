"""Tells those who watch that the projections changed: one listening connection per process."""

import asyncio
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, NoReturn, TypeVar

import asyncpg
import structlog

from wa_api.database.pool import AWAY, DatabaseUnavailable

log = structlog.get_logger()

CHANNEL = "wa_api_feed"
"""Notified by the projector after each batch; the payload is the feed's newest position."""

RETRY_SECONDS = 1.0
PROBE_EVERY_SECONDS = 0.5
ANSWER_SECONDS = 1.0
"""What takes longer to answer than that is as good as away: a database that hangs closes nothing."""

Found = TypeVar("Found")


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


class Notifications:
    """Fans notifications out to all watchers; after a lost connection all are rung, to look again."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._watches: set[Watch] = set()
        self.rings = 0
        """How often the feed changed, or may have."""
        self._lost = asyncio.Event()
        self._lost.set()
        self._attempted = asyncio.Event()
        self._draining = False

    async def attempted(self, seconds: float) -> None:
        """Wait until the first attempt to listen has come to an end, at most so long."""
        await _wait(self._attempted, seconds)

    @property
    def listening(self) -> bool:
        """Whether the database answers, and tells of changes, now."""
        return not self._lost.is_set()

    async def unless_lost(self, reading: Coroutine[Any, Any, Found]) -> Found:
        """What is read, if the database answers: one that hangs would keep readers for seconds.

        Raises:
            DatabaseUnavailable: it does not, or ceased to. What is read then ends by itself.
        """
        task, lost = asyncio.create_task(reading), asyncio.create_task(self._lost.wait())
        task.add_done_callback(_retrieved)
        try:
            await asyncio.wait({task, lost}, return_when=asyncio.FIRST_COMPLETED)
            if task.done():
                return task.result()
            raise DatabaseUnavailable("silent")
        finally:
            lost.cancel()
            task.cancel()

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
            except (*AWAY, asyncpg.PostgresError) as error:
                if not announced:
                    log.warning("waiting_for_database", reason=type(error).__name__)
                announced = True
            self._attempted.set()
            await asyncio.sleep(RETRY_SECONDS)

    async def _listen(self) -> None:
        connection = await asyncpg.connect(self._url, timeout=5, command_timeout=5)
        try:
            lost = asyncio.Event()
            connection.add_termination_listener(lambda _: lost.set())
            await connection.add_listener(CHANNEL, self._notified)
            self._lost.clear()
            self._attempted.set()
            log.info("live_connected")
            self._ring_all()
            while await _answers(connection) and not lost.is_set():
                await _wait(lost, PROBE_EVERY_SECONDS)
        finally:
            connection.terminate()
            self._lost.set()
            self._ring_all()

    def _notified(self, *_: Any) -> None:
        self._ring_all()

    def _ring_all(self) -> None:
        self.rings += 1
        for watch in self._watches:
            watch.ring()


def _retrieved(task: asyncio.Task[Any]) -> None:
    """Whoever waited for it may have gone."""
    if not task.cancelled():
        task.exception()


async def _wait(event: asyncio.Event, seconds: float) -> None:
    """For the event, at most so long."""
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return


async def _answers(connection: "asyncpg.Connection[asyncpg.Record]") -> bool:
    """Whether it does, in time. Not by asyncpg's time-out: that asks the server to cancel, and waits."""
    probe = asyncio.ensure_future(connection.fetchval("SELECT 1"))
    try:
        await asyncio.wait({probe}, timeout=ANSWER_SECONDS)
    finally:
        is_late = not probe.done()
        if is_late:
            connection.terminate()
        await asyncio.wait({probe})
        is_refused = probe.exception() is not None
    return not is_late and not is_refused
