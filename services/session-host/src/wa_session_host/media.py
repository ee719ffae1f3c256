"""Fetching media just before it is sent: limited in size, time and redirects, from checked addresses.

The address check is made on the connection itself, for every hop: whatever a name resolved to, a
socket to a private, loopback, link-local or otherwise special address is never opened, unless the
URL's host is one that the operator named.
"""

import asyncio
import stat
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from pathlib import Path, PurePosixPath
from tempfile import NamedTemporaryFile
from typing import IO
from urllib.parse import unquote, urljoin, urlsplit

import aiohttp

from wa_contracts.commands import MessageType
from wa_contracts.runtime.public_address import caused_by_refusal, socket_factory
from wa_session_host.content_type import mime_type_of
from wa_session_host.domain.message import Content
from wa_session_host.engine.port import MediaFile

REDIRECT_LIMIT = 5
FETCH_SECONDS = 60
CONNECT_SECONDS = 10
CHUNK = 64 * 1024

WANTED = {MessageType.IMAGE: "image/", MessageType.VIDEO: "video/"}


class MediaError(Exception):
    """The media cannot be sent. `code` is `media_unavailable`, `_too_large`, `_invalid`, `_refused`."""

    def __init__(self, code: str, message: str) -> None:
        """`code` for programs, `message` for people."""
        super().__init__(message)
        self.code = code


class MediaFetcher:
    """Makes media files ready to send, in a spool folder that it empties again."""

    def __init__(
        self, *, media_root: Path, spool: Path, max_bytes: int, allowed_hosts: Collection[str]
    ) -> None:
        """`allowed_hosts` are host names or addresses that may be private."""
        self._media_root = media_root
        self._spool = spool
        self._max_bytes = max_bytes
        self._allowed_hosts = frozenset(host.lower() for host in allowed_hosts)

    @asynccontextmanager
    async def ready(self, kind: MessageType, content: Content) -> AsyncIterator[MediaFile | None]:
        """The message's media as a file for as long as the block runs; None for text.

        Raises:
            MediaError: with a code and a sentence.
        """
        if content.media_url is None:
            yield None
            return
        address = urlsplit(content.media_url)
        if address.scheme.lower() in {"http", "https"}:
            path, name = await self._download(content.media_url)
            try:
                yield await self._checked(kind, path, content.file_name or name)
            finally:
                path.unlink(missing_ok=True)
        else:
            path = await asyncio.to_thread(self._local, content.media_url)
            yield await self._checked(kind, path, content.file_name or path.name)

    def _local(self, text: str) -> Path:
        root = self._media_root.resolve()
        path = (root / text.removeprefix("file://")).resolve()
        if not path.is_relative_to(root):
            raise MediaError("media_refused", "The local path lies outside MEDIA_ROOT.")
        try:
            status = path.stat()
        except OSError as error:
            raise MediaError("media_unavailable", "There is no such file in MEDIA_ROOT.") from error
        if not stat.S_ISREG(status.st_mode):
            raise MediaError("media_refused", "The local path is not a regular file.")
        if status.st_size > self._max_bytes:
            raise self._too_large()
        return path

    async def _checked(self, kind: MessageType, path: Path, name: str | None) -> MediaFile:
        mime_type = await asyncio.to_thread(mime_type_of, path)
        wanted = WANTED.get(kind)
        if wanted is not None and not mime_type.startswith(wanted):
            raise MediaError(
                "media_invalid", f"The media is not of type {kind}: its content is {mime_type}."
            )
        return MediaFile(path=path, mime_type=mime_type, file_name=name)

    async def _download(self, url: str) -> tuple[Path, str | None]:
        try:
            async with asyncio.timeout(FETCH_SECONDS):
                for _ in range(REDIRECT_LIMIT + 1):
                    path, further = await self._hop(url)
                    if path is not None:
                        return path, _name_in(url)
                    url = urljoin(url, further or "")
        except TimeoutError as error:
            raise MediaError("media_unavailable", "The media's server was too slow.") from error
        raise MediaError("media_unavailable", f"More than {REDIRECT_LIMIT} redirects.")

    async def _hop(self, url: str) -> tuple[Path | None, str | None]:
        """One request: the downloaded file, or the address that it redirects to."""
        address = urlsplit(url)
        if address.scheme.lower() not in {"http", "https"} or not address.hostname:
            raise MediaError("media_refused", "Media comes by http or https only.")
        if address.username is not None or address.password is not None:
            raise MediaError("media_refused", "A media URL must not carry a user name or password.")
        connector = aiohttp.TCPConnector(
            socket_factory=socket_factory(
                private_too=address.hostname.lower() in self._allowed_hosts
            ),
            use_dns_cache=False,
        )
        try:
            async with (
                aiohttp.ClientSession(
                    connector=connector,
                    timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS),
                ) as session,
                session.get(url, allow_redirects=False) as response,
            ):
                if response.status in {301, 302, 303, 307, 308}:
                    return None, response.headers.get("Location", "")
                if response.status != 200:
                    raise MediaError(
                        "media_unavailable", f"The media's server answered {response.status}."
                    )
                return await self._save(response), None
        except aiohttp.ClientError as error:
            if caused_by_refusal(error):
                raise MediaError(
                    "media_refused",
                    "The media URL leads to a private or special address. "
                    "Name its host in MEDIA_ALLOWED_HOSTS if that is wanted.",
                ) from error
            raise MediaError("media_unavailable", "The media's server is not reachable.") from error
        except ValueError as error:
            raise MediaError("media_refused", "The media URL is not valid.") from error

    async def _save(self, response: aiohttp.ClientResponse) -> Path:
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


def _name_in(url: str) -> str | None:
    return PurePosixPath(unquote(urlsplit(url).path)).name or None
