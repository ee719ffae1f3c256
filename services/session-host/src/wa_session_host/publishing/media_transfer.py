"""Media that arrived, on their way to an api process: downloaded to a file, then sent in pieces.

The pieces go over a connection of their own, so that no event waits behind them.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import NamedTemporaryFile

import structlog

from wa_contracts.internal.media_transfer import CHUNK_BYTES
from wa_contracts.internal.replies import MediaOffer
from wa_session_host.domain.observations import ReceivedMedia
from wa_session_host.engine.port import DownloadFailed
from wa_session_host.publishing.outbox import NoSuchQueue, NotConfirmed, Outbox

log = structlog.get_logger()

DOWNLOADS_AT_ONCE = 4
"""Of one host: each may hold MEDIA_MAX_BYTES in its engine's memory for a while."""
STALLED_SECONDS = 60.0
"""Pieces that nobody takes for so long are not wanted any more."""
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.02, 1.0

Download = Callable[[ReceivedMedia, Path], Awaitable[None]]


class MediaTransfer:
    """Downloads media and hands them over, some at a time."""

    def __init__(self, outbox: Outbox, *, spool: Path, max_bytes: int) -> None:
        """`outbox` is the connection for media alone; `spool` a folder for files on their way."""
        self._outbox = outbox
        self._spool = spool
        self._max_bytes = max_bytes
        self._places = asyncio.Semaphore(DOWNLOADS_AT_ONCE)

    @asynccontextmanager
    async def downloaded(
        self, media: ReceivedMedia, download: Download
    ) -> AsyncIterator[tuple[MediaOffer, Path]]:
        """The media as a file for as long as the block runs.

        Raises:
            DownloadFailed: with a code and a sentence.
        """
        self._check_size(media.size)
        self._spool.mkdir(parents=True, exist_ok=True)
        async with self._places:
            with NamedTemporaryFile(dir=self._spool) as file:
                path = Path(file.name)
                await download(media, path)
                size = path.stat().st_size
                self._check_size(size)
                offer = MediaOffer(mime_type=media.mime_type, file_name=media.file_name, size=size)
                yield offer, path

    def _check_size(self, size: int) -> None:
        if size > self._max_bytes:
            raise DownloadFailed(
                "media_too_large",
                f"The media has {size} bytes, more than MEDIA_MAX_BYTES ({self._max_bytes}).",
            )

    async def send(self, path: Path, queue: str) -> None:
        """Put a file into a queue, piece by piece, at the pace at which they are taken out.

        Raises:
            NotConfirmed: the queue is gone, the broker is, or nobody takes the pieces.
        """
        with path.open("rb") as file:
            offset = 0
            while chunk := await asyncio.to_thread(file.read, CHUNK_BYTES):
                await self._send_chunk(queue, chunk, offset)
                offset += len(chunk)

    async def _send_chunk(self, queue: str, chunk: bytes, offset: int) -> None:
        pause = FIRST_PAUSE_SECONDS
        clock = asyncio.get_running_loop().time
        until = clock() + STALLED_SECONDS
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
