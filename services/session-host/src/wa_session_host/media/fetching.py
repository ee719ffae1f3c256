"""Fetches outgoing media, limited in size, time, redirects and addresses.

Each hop checks the address on the connection itself: whatever a name resolved to, a socket to a
private, loopback, link-local or otherwise special address is never opened, unless the operator
allowed the URL's host.
"""

import asyncio
import mimetypes
import re
import stat
from collections.abc import AsyncIterator, Collection
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path, PurePosixPath
from tempfile import NamedTemporaryFile
from typing import IO
from urllib.parse import unquote, urljoin, urlsplit

import aiohttp

from wa_contracts.internal.commands import MessageType
from wa_runtime.links import follow_links
from wa_runtime.media_store.store import MediaStore, NotStored, StoreUnavailable
from wa_runtime.public_address import caused_by_refusal, socket_factory
from wa_runtime.web_address import NotAWebAddress, web_address
from wa_session_host.domain.message import Content
from wa_session_host.engine.content_type import mime_type_of
from wa_session_host.engine.port import MediaFile
from wa_session_host.media.byte_budget import ByteBudget
from wa_session_host.media.conversion import Converter
from wa_session_host.media.media_error import MediaError

FETCHES_AT_ONCE = 16
"""Fetched files on disk, per host: each may have MEDIA_MAX_BYTES."""
FILES_IN_MEMORY = 2
"""Files of MEDIA_MAX_BYTES that engines may send at the same time, per host: an engine holds a file
in memory. Smaller files count by their size."""
REDIRECT_LIMIT = 5
FETCH_SECONDS = 60
CONNECT_SECONDS = 10
CHUNK = 64 * 1024

UNCOMPRESSED = {"Accept-Encoding": "identity"}
"""Requested and enforced: a small compressed response cannot become a large file."""
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")

UNTOLD = {"application/octet-stream", "application/zip", "text/plain"}
"""Types that libmagic finds for files of many kinds."""
BUSY = {429, 502, 503, 504}
"""Answers of a server that may work later. 500 is a fault of the request or the server."""


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
    ) -> None:
        """`allowed_hosts` are names or addresses, with or without a port, that may be private.

        `store` has the uploads.
        """
        self._store = store
        self._converter = converter
        self._media_root = media_root
        self._spool = spool
        self._max_bytes = max_bytes
        self._fetches = asyncio.Semaphore(FETCHES_AT_ONCE)
        self._memory = ByteBudget(FILES_IN_MEMORY * max_bytes)
        self._allowed_hosts = frozenset(host.lower() for host in allowed_hosts)

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
                path, name = await self._download(content.media_url or "")
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
                async with asyncio.timeout(FETCH_SECONDS):
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
            raise self._too_large()
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
        yield MediaFile(path=path, mime_type=mime_type, file_name=name)

    async def _download(self, url: str) -> tuple[Path, str | None]:
        try:
            async with asyncio.timeout(FETCH_SECONDS):
                for _ in range(REDIRECT_LIMIT + 1):
                    path, further = await self._hop(url)
                    if path is not None:
                        return path, _name_in(url)
                    url = _joined(url, further or "")
        except TimeoutError as error:
            raise MediaError("media_unavailable", "The media's server was too slow.") from error
        raise MediaError("media_unavailable", f"More than {REDIRECT_LIMIT} redirects.")

    async def _hop(self, url: str) -> tuple[Path | None, str | None]:
        """Make one request; return the downloaded file, or the redirect's target."""
        is_allowed = self._checked_address(url)
        connector = aiohttp.TCPConnector(
            socket_factory=socket_factory(private_too=is_allowed), use_dns_cache=False
        )
        try:
            async with (
                aiohttp.ClientSession(
                    connector=connector,
                    timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS),
                    headers=UNCOMPRESSED,
                    auto_decompress=False,
                ) as session,
                session.get(url, allow_redirects=False) as response,
            ):
                if response.status in {301, 302, 303, 307, 308}:
                    return None, response.headers.get("Location", "")
                if response.status != 200:
                    raise MediaError(
                        "media_unavailable",
                        f"The media's server answered {response.status}.",
                        may_pass=response.status in BUSY,
                    )
                return await self._save(response), None
        except (aiohttp.InvalidURL, ValueError) as error:
            raise MediaError("media_refused", "The media URL is not a valid URL.") from error
        except aiohttp.ClientError as error:
            if caused_by_refusal(error):
                raise MediaError(
                    "media_refused",
                    "The media URL leads to a private or special address. "
                    "Name its host in MEDIA_ALLOWED_HOSTS if that is wanted.",
                ) from error
            raise MediaError("media_unavailable", "The media's server is not reachable.") from error

    def _checked_address(self, url: str) -> bool:
        """Whether the operator allowed the URL's host. Other hosts' addresses must be checked.

        Raises:
            MediaError: the URL must not be fetched.
        """
        try:
            address = web_address(url)
        except NotAWebAddress as error:
            raise MediaError("media_refused", f"The media URL {error}.") from error
        is_allowed = address.is_among(self._allowed_hosts)
        if address.is_port_of_others and not is_allowed:
            raise MediaError(
                "media_refused",
                f"The media URL names port {address.port}, which is not for the web.",
            )
        return is_allowed

    async def _save(self, response: aiohttp.ClientResponse) -> Path:
        if response.headers.get("Content-Encoding", "identity").lower() != "identity":
            raise MediaError(
                "media_unavailable", "The media's server compressed it, though asked not to."
            )
        if (response.content_length or 0) > self._max_bytes:
            raise self._too_large()
        self._spool.mkdir(parents=True, exist_ok=True)
        with NamedTemporaryFile(dir=self._spool, delete=False) as file:
            path = Path(file.name)
            try:
                await self._copy(response, file)
            except BaseException:
                path.unlink()
                raise
        return path

    async def _copy(self, response: aiohttp.ClientResponse, file: IO[bytes]) -> None:
        size = 0
        async for chunk in response.content.iter_chunked(CHUNK):
            size += len(chunk)
            if size > self._max_bytes:
                raise self._too_large()
            file.write(chunk)
        if size == 0:
            raise MediaError("media_invalid", "The media's server sent nothing.")

    def _too_large(self) -> MediaError:
        return MediaError(
            "media_too_large", f"The media is larger than MEDIA_MAX_BYTES ({self._max_bytes})."
        )


def _joined(url: str, further: str) -> str:
    try:
        return urljoin(url, further)
    except ValueError as error:
        raise MediaError("media_refused", "The media URL redirects to no valid URL.") from error


def _name_in(url: str) -> str | None:
    """The last path segment as a file name, without unprintable characters."""
    name = PurePosixPath(unquote(urlsplit(url).path)).name
    return "".join(filter(str.isprintable, name)) or None
