"""Notifies watchers of changed projections, over one listening connection per process."""

import asyncio
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, NoReturn, TypeVar

import asyncpg
import structlog

from wa_api.database.pool import Connection, DatabaseUnavailable
from wa_runtime.postgres import DATABASE_ERRORS

log = structlog.get_logger()

CHANNEL = "wa_api_feed"
"""Notified by the projector after each batch. Payload: the newest feed position, or ACCESS."""
ACCESS = "access"
"""A token or an API key was revoked or replaced."""

RETRY_SECONDS = 1.0
PROBE_EVERY_SECONDS = 0.5
ANSWER_SECONDS = 1.0
"""Time limit for the probe. A hung database does not close its connections."""

Found = TypeVar("Found")


class Watch:
    """One watcher's flag. A change while nobody waits is kept for the next wait."""

    def __init__(self) -> None:
        self._changed = asyncio.Event()
        self.ended = False

    def notify(self) -> None:
        """Report a change or a possible change."""
        self._changed.set()

    async def changed(self, seconds: float) -> bool:
        """Wait for a change, at most `seconds`; return False on time-out."""
        try:
            async with asyncio.timeout(seconds):
                await self._changed.wait()
        except TimeoutError:
            return False
        self._changed.clear()
        return True


class Notifications:
    """Fans notifications out to all watchers. A lost connection counts as a change."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._watches: set[Watch] = set()
        self.changes = 0
        """Number of changes and possible changes."""
        self.access_changes = 0
        """Number of revocations and possible revocations."""
        self._lost = asyncio.Event()
        self._lost.set()
        self._attempted = asyncio.Event()
        self._draining = False

    async def attempted(self, seconds: float) -> None:
        """Wait for the first connection attempt to end, at most `seconds`."""
        await _wait(self._attempted, seconds)

    @property
    def listening(self) -> bool:
        """True while the database answers and notifies."""
        return not self._lost.is_set()

    async def unless_lost(self, reading: Coroutine[Any, Any, Found]) -> Found:
        """Return the result of `reading`, unless the database stops answering.

        A hung database would otherwise block readers for seconds.

        Raises:
            DatabaseUnavailable: No answer. The reading is cancelled.
        """
        task, lost = asyncio.create_task(reading), asyncio.create_task(self._lost.wait())
        task.add_done_callback(_retrieve_exception)
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
        """Receive changes during the block."""
        watch = Watch()
        watch.ended = self._draining
        self._watches.add(watch)
        try:
            yield watch
        finally:
            self._watches.discard(watch)

    def drain(self) -> None:
        """The process ends: end all watches."""
        self._draining = True
        for watch in self._watches:
            watch.ended = True
            watch.notify()

    async def run(self) -> NoReturn:
        announced = False
        while True:
            try:
                await self._listen()
                announced = False
                log.warning("live_connection_lost")
            except DATABASE_ERRORS as error:
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
            await connection.add_listener(CHANNEL, self._on_notification)
            self._lost.clear()
            self._attempted.set()
            self.access_changes += 1
            log.info("live_connected")
            self._notify_all()
            while await _answers(connection) and not lost.is_set():
                await _wait(lost, PROBE_EVERY_SECONDS)
        finally:
            connection.terminate()
            self._lost.set()
            self._notify_all()

    def _on_notification(self, *told: Any) -> None:
        if told[-1] == ACCESS:
            self.access_changes += 1
        self._notify_all()

    def _notify_all(self) -> None:
        self.changes += 1
        for watch in self._watches:
            watch.notify()


async def notify_access_changed(connection: Connection) -> None:
    """Have every api process check the credentials of its open streams, after the commit."""
    await connection.execute("SELECT pg_notify($1, $2)", CHANNEL, ACCESS)


def _retrieve_exception(task: asyncio.Task[Any]) -> None:
    """Retrieve the exception: the caller may be gone."""
    if not task.cancelled():
        task.exception()


async def _wait(event: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return


async def _answers(connection: "asyncpg.Connection[asyncpg.Record]") -> bool:
    """Probe the connection, without asyncpg's time-out, which waits for a cancel request."""
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
