"""Transfers incoming media to an api process: downloads a file, then publishes its chunks.

Chunks use a separate connection, so that they delay no event.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import NamedTemporaryFile
from weakref import WeakValueDictionary

import structlog

from wa_contracts.ids import SessionId
from wa_contracts.internal.media_transfer import CHUNK_BYTES
from wa_contracts.internal.replies import MediaOffer
from wa_session_host.domain.observations import ReceivedMedia
from wa_session_host.engine.port import DownloadFailed
from wa_session_host.publishing.outbox import NoSuchQueue, NotConfirmed, Outbox

log = structlog.get_logger()

DOWNLOADS_AT_ONCE = 4
"""Per host. Each may hold MEDIA_MAX_BYTES in its engine's memory."""
TRANSFERS_AT_ONCE = 16
"""Per host. Each may hold MEDIA_MAX_BYTES on disk."""
TRANSFERS_OF_A_SESSION = 4
"""A page shows several files, and a reader may pause one of them."""
BUSY_SECONDS = 30.0
"""A request waits so long for its session's earlier transfers."""
STALLED_SECONDS = 60.0
"""A transfer without progress for so long is given up."""
LEAST_BYTES_PER_SECOND = 64 * 1024
"""A transfer that is slower on average, after STALLED_SECONDS, is given up."""
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.02, 1.0

Download = Callable[[ReceivedMedia, Path], Awaitable[None]]


class MediaTransfer:
    """Downloads and transfers media, a few at a time, fewer per session.

    A slow reader holds a place of its own session: downloads have other places.
    """

    def __init__(self, outbox: Outbox, *, spool: Path, max_bytes: int) -> None:
        """`outbox` uses the connection for media; `spool` is a folder for temporary files."""
        self._outbox = outbox
        self._spool = spool
        self._max_bytes = max_bytes
        self._downloads = asyncio.Semaphore(DOWNLOADS_AT_ONCE)
        self._transfers = asyncio.Semaphore(TRANSFERS_AT_ONCE)
        self._of_sessions: WeakValueDictionary[SessionId, asyncio.Semaphore] = WeakValueDictionary()

    @asynccontextmanager
    async def downloaded(
        self, session_id: SessionId, media: ReceivedMedia, download: Download
    ) -> AsyncIterator[tuple[MediaOffer, Path]]:
        """The downloaded media as a file inside the block.

        Raises:
            DownloadFailed: with a code and a sentence.
        """
        self._check_size(media.size)
        self._spool.mkdir(parents=True, exist_ok=True)
        async with self._place(session_id), self._transfers:
            with NamedTemporaryFile(dir=self._spool) as file:
                path = Path(file.name)
                async with self._downloads:
                    await download(media, path)
                size = path.stat().st_size
                self._check_size(size)
                offer = MediaOffer(mime_type=media.mime_type, file_name=media.file_name, size=size)
                yield offer, path

    @asynccontextmanager
    async def _place(self, session_id: SessionId) -> AsyncIterator[None]:
        """One of the places of a session's transfers, inside the block."""
        places = self._of_sessions.setdefault(session_id, asyncio.Semaphore(TRANSFERS_OF_A_SESSION))
        try:
            async with asyncio.timeout(BUSY_SECONDS):
                await places.acquire()
        except TimeoutError as error:
            raise DownloadFailed(
                "media_unavailable",
                f"{TRANSFERS_OF_A_SESSION} other files of this session are still being read. "
                "Read or close one of them, then try again.",
            ) from error
        try:
            yield
        finally:
            places.release()

    def _check_size(self, size: int) -> None:
        if size > self._max_bytes:
            raise DownloadFailed(
                "media_too_large",
                f"The media has {size} bytes, more than MEDIA_MAX_BYTES ({self._max_bytes}).",
            )

    async def send(self, path: Path, queue: str) -> None:
        """Publish a file to a queue, chunk by chunk, as fast as the queue is consumed.

        Raises:
            NotConfirmed: the queue is gone, the broker is unavailable, nothing was consumed for
                STALLED_SECONDS, or less than LEAST_BYTES_PER_SECOND.
        """
        clock = asyncio.get_running_loop().time
        began = clock()
        with path.open("rb") as file:
            offset = 0
            while chunk := await asyncio.to_thread(file.read, CHUNK_BYTES):
                least_pace = began + STALLED_SECONDS + offset / LEAST_BYTES_PER_SECOND
                await self._send_chunk(
                    queue, chunk, offset, until=min(clock() + STALLED_SECONDS, least_pace)
                )
                offset += len(chunk)

    async def _send_chunk(self, queue: str, chunk: bytes, offset: int, *, until: float) -> None:
        pause = FIRST_PAUSE_SECONDS
        clock = asyncio.get_running_loop().time
        while True:
            try:
                await self._outbox.publish_media_chunk(queue, chunk, offset)
            except NoSuchQueue:
                raise
            except NotConfirmed:
                if clock() > until:
                    raise
                await asyncio.sleep(pause)
                pause = min(pause * 2, LONGEST_PAUSE_SECONDS)
            else:
                return
