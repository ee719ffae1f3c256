"""Fetches and stores the media of incoming messages, for sessions with `keepMedia`.

Nothing waits for it: the message's event is stored first, and a failure ends as a description in the
media store, which says why.
"""

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import NoReturn

import structlog

from wa_contracts.ids import MessageId, SessionId
from wa_contracts.internal.replies import ErrorDetail
from wa_runtime.media_store.kept_media import KeptFile, KeptMedia
from wa_runtime.media_store.store import StoreUnavailable
from wa_runtime.postgres import DATABASE_ERRORS
from wa_session_host.engine.port import DownloadFailed
from wa_session_host.metrics import HostMetrics
from wa_session_host.publishing.media_transfer import MediaTransfer
from wa_session_host.sessions.owner import SessionOwner
from wa_session_host.store.incoming_media import IncomingMedia, WantedMedia

log = structlog.get_logger()

AT_ONCE = 2
"""Per host. Clients' own downloads have as many places more."""
PAGE = 16
STORE_SECONDS = 120.0
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 2.0, 600.0
MOST_TRIES = 10
SESSION_PAUSE = timedelta(seconds=30)
"""Pause while the session does not work."""
LATE = timedelta(days=1)
"""Media that could not be fetched for so long is given up."""
DATABASE_SECONDS = 5.0
CLEAN_UP_EVERY_SECONDS = 3600.0
CLEAN_UP_WITHIN_SECONDS = 600.0
READ_BYTES = 256 * 1024
FOR_GOOD = frozenset({"media_gone", "media_too_large", "media_not_kept"})

DELETED = DownloadFailed("session_deleted", "The session was deleted.")

Owners = Mapping[SessionId, SessionOwner]


class MediaKeeping:
    """Keeps media of a host's partitions, a few files at a time."""

    def __init__(
        self,
        table: IncomingMedia,
        files: KeptMedia,
        transfer: MediaTransfer,
        metrics: HostMetrics,
        *,
        session_bytes: int,
    ) -> None:
        """`session_bytes` is the limit of a session's kept media."""
        self._table = table
        self._files = files
        self._transfer = transfer
        self._outcomes = metrics.media_kept
        self._session_bytes = session_bytes
        self._places = asyncio.Semaphore(AT_ONCE)

    async def run(self, partition: int, owners: Owners) -> NoReturn:
        """Fetch what a partition's sessions keep, and delete what has expired, until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._clean_up(partition))
            wakes, under_way = self._table.wanted[partition], set[MessageId]()

            def begin(wanted: WantedMedia) -> None:
                under_way.add(wanted.message_id)
                task = group.create_task(self._keep(wanted, owners.get(wanted.session_id)))
                task.add_done_callback(lambda _: under_way.discard(wanted.message_id))
                task.add_done_callback(lambda _: wakes.set())

            while True:
                wakes.clear()
                try:
                    pause = await self._begin_due(partition, under_way, begin)
                except DATABASE_ERRORS as error:
                    log.info("media_keeping_waits", partition=partition, error=repr(error))
                    pause = DATABASE_SECONDS
                with suppress(TimeoutError):
                    async with asyncio.timeout(pause):
                        await wakes.wait()
        raise AssertionError("unreachable")

    async def _begin_due(
        self, partition: int, under_way: Collection[MessageId], begin: Callable[[WantedMedia], None]
    ) -> float | None:
        """Begin what is due, a page at most at the same time; the seconds until more is, if known.

        A slow download keeps no other one from its beginning.
        """
        for wanted in await self._table.next(partition, LATE, PAGE):
            if wanted.message_id in under_way:
                continue
            if wanted.due_in > 0:
                return wanted.due_in
            begin(wanted)
        return None

    async def _keep(self, wanted: WantedMedia, owner: SessionOwner | None) -> None:
        """Keep one file, or postpone it, or say why it is not kept."""
        if owner is None:
            await self._failed(wanted, DELETED)
            return
        try:
            async with self._places:
                size = await self._store(wanted, owner)
            await self._table.kept(wanted.message_id, size)
            self._outcomes.labels("kept").inc()
        except DownloadFailed as error:
            await self._failed(wanted, error)
        except (StoreUnavailable, *DATABASE_ERRORS) as error:  # a full disk too
            reason = f"The media could not be stored: {type(error).__name__}."
            await self._failed(wanted, DownloadFailed("media_unavailable", reason))

    async def _failed(self, wanted: WantedMedia, error: DownloadFailed) -> None:
        """Try again later, or say why it is not kept. A session that does not work is no try."""
        waits = error.code.startswith("session_")
        is_last = error.code in FOR_GOOD or wanted.is_late
        is_last = is_last or (wanted.tries >= MOST_TRIES and not waits)
        log.log(
            logging.WARNING if is_last else logging.INFO,
            "media_not_kept" if is_last else "media_not_kept_yet",
            session_id=str(wanted.session_id),
            message_id=str(wanted.message_id),
            code=error.code,
            reason=str(error),
        )
        try:
            if is_last:
                await self._give_up(wanted, error)
            elif waits:
                await self._table.postpone(wanted.message_id, SESSION_PAUSE, tries=0)
            else:
                await self._table.postpone(wanted.message_id, _pause(wanted.tries), tries=1)
        except DATABASE_ERRORS as failure:
            log.info("media_keeping_waits", reason=repr(failure))
            await asyncio.sleep(DATABASE_SECONDS)

    async def _store(self, wanted: WantedMedia, owner: SessionOwner) -> int:
        """Fetch a file and store it; its size."""
        media, session_id = wanted.media, wanted.session_id
        await self._check_room(session_id, media.size)
        downloaded = self._transfer.downloaded(session_id, media, owner.calls.download)
        async with downloaded as (offer, path):
            await self._check_room(session_id, offer.size)
            known = KeptFile(
                mime_type=media.mime_type,
                file_name=media.file_name,
                size=offer.size,
                expires_at=wanted.expires_at,
            )
            async with asyncio.timeout(STORE_SECONDS):
                await self._files.write(session_id, wanted.message_id, known, _chunks(path))
        return offer.size

    async def _check_room(self, session_id: SessionId, size: int) -> None:
        if await self._table.bytes_of(session_id) + size > self._session_bytes:
            raise DownloadFailed(
                "media_not_kept",
                f"The session's kept media would have more than {self._session_bytes} bytes "
                "(SESSION_MEDIA_QUOTA_BYTES).",
            )

    async def _give_up(self, wanted: WantedMedia, error: DownloadFailed) -> None:
        self._outcomes.labels("failed").inc()
        known = KeptFile(
            mime_type=wanted.media.mime_type,
            expires_at=wanted.expires_at,
            failure=ErrorDetail(code=error.code, message=str(error)),
        )
        with suppress(StoreUnavailable):
            await self._files.describe(wanted.session_id, wanted.message_id, known)
        await self._table.failed(wanted.message_id)

    async def _clean_up(self, partition: int) -> NoReturn:
        """Delete expired media hourly, after a random delay that spreads the load."""
        await asyncio.sleep(random.uniform(0, CLEAN_UP_WITHIN_SECONDS))  # noqa: S311 - spreads load
        while True:
            try:
                await self.delete_ended(partition)
            except (StoreUnavailable, *DATABASE_ERRORS) as error:
                log.info("expired_media_not_deleted", partition=partition, error=repr(error))
            await asyncio.sleep(CLEAN_UP_EVERY_SECONDS)

    async def delete_ended(self, partition: int) -> None:
        """Delete expired media, and that of deleted sessions.

        Raises:
            StoreUnavailable, OSError, asyncpg.PostgresError, asyncpg.InterfaceError: some may be
                there still.
        """
        while page := await self._table.ended(partition, PAGE):
            for session_id, message_id in page:
                await self._files.delete(session_id, message_id)
                await self._table.forget(message_id)


def _pause(tries: int) -> timedelta:
    return timedelta(seconds=min(FIRST_PAUSE_SECONDS * 2 ** min(tries, 10), LONGEST_PAUSE_SECONDS))


async def _chunks(path: Path) -> AsyncIterator[bytes]:
    with path.open("rb") as file:
        while chunk := await asyncio.to_thread(file.read, READ_BYTES):
            yield chunk
