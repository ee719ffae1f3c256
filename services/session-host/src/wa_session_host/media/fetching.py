"""Outgoing media as files: from the web, the media store or MEDIA_ROOT, as phones show them."""

import asyncio
import mimetypes
import re
import stat
from collections.abc import AsyncIterator, Collection
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path, PurePosixPath
from tempfile import NamedTemporaryFile

from wa_contracts.internal.commands import MessageType
from wa_runtime.links import follow_links
from wa_runtime.media_store.store import MediaStore, NotStored, StoreUnavailable
from wa_session_host.domain.message import Content
from wa_session_host.engine.content_type import mime_type_of
from wa_session_host.engine.port import MediaFile
from wa_session_host.media.byte_budget import ByteBudget
from wa_session_host.media.conversion import Converter
from wa_session_host.media.media_error import MediaError
from wa_session_host.media.web_downloads import WebDownloads, too_large

FETCHES_AT_ONCE = 16
"""Fetched files on disk, per host: each may have MEDIA_MAX_BYTES."""
FILES_IN_MEMORY = 2
"""Files of MEDIA_MAX_BYTES that engines may send at the same time, per host: an engine holds a file
in memory. Smaller files count by their size."""
PREVIEW_BYTES = 4 * 1024 * 1024
"""Limit of a link's page, and of its picture."""
FETCH_SECONDS = 60

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")

UNKNOWN = "application/octet-stream"
UNTOLD = {UNKNOWN, "application/zip", "text/plain"}
"""Types that libmagic finds for files of many kinds."""


class MediaFetcher:
    """Prepares media files, in a spool folder that it cleans up."""

    def __init__(
        self,
        *,
        media_root: Path,
        spool: Path,
        max_bytes: int,
        allowed_hosts: Collection[str],
        converter: Converter,
        store: MediaStore,
        ca_file: Path | None = None,
        fetch_seconds: float = FETCH_SECONDS,
    ) -> None:
        """`allowed_hosts` are names or addresses, with or without a port, that may be private.

        `store` has the uploads. `ca_file` has further certificate authorities (PEM). A file that
        takes longer than `fetch_seconds` is given up.
        """
        self._store = store
        self._fetch_seconds = fetch_seconds
        web = partial(
            WebDownloads,
            spool=spool,
            allowed_hosts=allowed_hosts,
            ca_file=ca_file,
            seconds=fetch_seconds,
        )
        self._web = web(max_bytes=max_bytes)
        self._link_web = web(max_bytes=min(max_bytes, PREVIEW_BYTES))
        self._converter = converter
        self._media_root = media_root
        self._spool = spool
        self._max_bytes = max_bytes
        self._fetches = asyncio.Semaphore(FETCHES_AT_ONCE)
        self._memory = ByteBudget(FILES_IN_MEMORY * max_bytes)

    @asynccontextmanager
    async def ready(self, kind: MessageType, content: Content) -> AsyncIterator[MediaFile | None]:
        """The message's media as a file inside the block; None for text.

        Waits while too much media of other sessions is under way.

        Raises:
            MediaError: with a code and a sentence.
        """
        if content.media_url is None and content.media is None:
            yield None
            return
        declared = None
        async with AsyncExitStack() as stack:
            if content.media is not None:
                await stack.enter_async_context(self._fetches)
                path = await self._stored(content.media.key)
                stack.callback(path.unlink, missing_ok=True)
                name, declared = content.media.file_name, content.media.mime_type
            elif _SCHEME.match(content.media_url or ""):
                await stack.enter_async_context(self._fetches)
                download = await self._web.download(content.media_url or "")
                path, name, declared = download
                stack.callback(path.unlink, missing_ok=True)
            else:
                path = await asyncio.to_thread(self._local, content.media_url or "")
                name = path.name
            ready = self._as_shown(kind, path, content.file_name or name, declared)
            media = await stack.enter_async_context(ready)
            await stack.enter_async_context(self._memory.taken(media.path.stat().st_size))
            yield media

    async def _stored(self, key: str) -> Path:
        """An upload as a file in the spool."""
        self._spool.mkdir(parents=True, exist_ok=True)
        with NamedTemporaryFile(dir=self._spool, delete=False) as file:
            path = Path(file.name)
            try:
                async with asyncio.timeout(self._fetch_seconds):
                    async for chunk in self._store.read(key):
                        file.write(chunk)
            except NotStored as error:
                path.unlink()
                raise MediaError(
                    "media_unavailable", "The upload has expired or was deleted."
                ) from error
            except (StoreUnavailable, TimeoutError) as error:
                path.unlink()
                raise MediaError(
                    "media_unavailable", "The media store is not reachable.", may_pass=True
                ) from error
            except BaseException:
                path.unlink()
                raise
        return path

    @asynccontextmanager
    async def of_link(self, url: str) -> AsyncIterator[Path]:
        """A link's page or picture, as a file inside the block. With the guards of media.

        Raises:
            MediaError: with a code and a sentence.
        """
        async with self._fetches:
            path = (await self._link_web.download(url)).path
            try:
                yield path
            finally:
                path.unlink(missing_ok=True)

    async def thumbnail(self, picture: Path) -> str | None:
        """Base64 of a small JPEG of a picture.

        Raises:
            MediaError: with a code and a sentence.
        """
        async with self._converter.converted(MessageType.IMAGE, picture, None) as media:
            return None if media.details is None else media.details.thumbnail

    def _local(self, text: str) -> Path:
        root = self._media_root.resolve()
        try:
            path = follow_links(root / text)
            if not path.is_relative_to(root):
                raise MediaError("media_refused", "The local path lies outside MEDIA_ROOT.")
            status = path.stat()
        except OSError as error:
            raise MediaError("media_unavailable", "There is no such file in MEDIA_ROOT.") from error
        except (ValueError, RuntimeError) as error:  # U+0000; circular links
            raise MediaError("media_refused", "The local path is not a valid one.") from error
        if not stat.S_ISREG(status.st_mode):
            raise MediaError("media_refused", "The local path is not a regular file.")
        if status.st_size == 0:
            raise MediaError("media_invalid", "The local file is empty.")
        if status.st_size > self._max_bytes:
            raise too_large(self._max_bytes)
        return path

    @asynccontextmanager
    async def _as_shown(
        self, kind: MessageType, path: Path, name: str | None, declared: str | None
    ) -> AsyncIterator[MediaFile]:
        """A document as it is; other files as phones show them.

        Where a document's content does not tell its type, its name does, else `declared`.
        """
        if kind is not MessageType.DOCUMENT:
            async with self._converter.converted(kind, path, name) as media:
                yield media
            return
        try:
            mime_type = await asyncio.to_thread(mime_type_of, path)
        except OSError as error:
            raise MediaError("media_unavailable", "The media cannot be read.") from error
        if mime_type in UNTOLD:
            mime_type = mimetypes.guess_type(name or "")[0] or declared or mime_type
        yield MediaFile(path=path, mime_type=mime_type, file_name=_with_extension(name, mime_type))


def _with_extension(name: str | None, mime_type: str) -> str:
    """The name, with an extension that fits the content where it has none."""
    name = name or "document"
    if PurePosixPath(name).suffix or mime_type == UNKNOWN:
        return name
    return name + (mimetypes.guess_extension(mime_type.partition(";")[0]) or "")
