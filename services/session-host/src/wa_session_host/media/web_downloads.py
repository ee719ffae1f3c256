"""Downloads outgoing media from the web, limited in size, time, redirects and addresses.

Each hop checks the address on the connection itself: whatever a name resolved to, a socket to a
private, loopback, link-local or otherwise special address is never opened, unless the operator
allowed the URL's host.
"""

import asyncio
import re
import ssl
from collections.abc import Collection
from importlib.metadata import version
from pathlib import Path, PurePosixPath
from tempfile import NamedTemporaryFile
from typing import IO, NamedTuple
from urllib.parse import quote, unquote, urljoin, urlsplit

import aiohttp
from yarl import URL

from wa_runtime.public_address import caused_by_refusal, socket_factory
from wa_runtime.web_address import NotAWebAddress, web_address
from wa_session_host.media.media_error import MediaError

REDIRECT_LIMIT = 5
CONNECT_SECONDS = 10
CHUNK = 64 * 1024

HEADERS = {
    "Accept-Encoding": "identity",
    "User-Agent": f"WhatsAppMultiSessionManager/{version('wa-session-host')}",
}
"""The encoding is requested and enforced: a small compressed response cannot become a large file.
Some servers refuse the HTTP library's own name."""
BUSY = {429, 502, 503, 504}
"""Answers of a server that may work later. 500 is a fault of the request or the server."""
_NOT_IN_REQUESTS = re.compile(r"[^\x21-\x7e]+")


class Downloaded(NamedTuple):
    """A file in the spool, with the name and the type that its server gave."""

    path: Path
    file_name: str | None
    mime_type: str


class WebDownloads:
    """Downloads into a spool folder."""

    def __init__(
        self,
        *,
        spool: Path,
        max_bytes: int,
        allowed_hosts: Collection[str],
        ca_file: Path | None,
        seconds: float,
    ) -> None:
        """See `MediaFetcher`. A download takes at most so many `seconds`."""
        self._seconds = seconds
        self._spool = spool
        self._max_bytes = max_bytes
        self._allowed_hosts = frozenset(host.lower() for host in allowed_hosts)
        self._certificates = ssl.create_default_context()
        if ca_file is not None:
            self._certificates.load_verify_locations(ca_file)

    async def download(self, url: str) -> Downloaded:
        """The file, in the spool: the caller deletes it.

        Raises:
            MediaError: with a code and a sentence.
        """
        given = url
        try:
            async with asyncio.timeout(self._seconds):
                for _ in range(REDIRECT_LIMIT + 1):
                    found = await self._hop(url)
                    if isinstance(found, Downloaded):
                        name = found.file_name or _name_in(given) or _name_in(url)
                        return found._replace(file_name=name)
                    url = _joined(url, found)
        except TimeoutError as error:
            raise MediaError("media_unavailable", "The media's server was too slow.") from error
        raise MediaError("media_unavailable", f"More than {REDIRECT_LIMIT} redirects.")

    async def _hop(self, url: str) -> "Downloaded | str":
        """Make one request; return the downloaded file, or the redirect's target."""
        is_allowed = self._checked_address(url)
        connector = aiohttp.TCPConnector(
            socket_factory=socket_factory(private_too=is_allowed),
            use_dns_cache=False,
            ssl=self._certificates,
        )
        try:
            async with (
                aiohttp.ClientSession(
                    connector=connector,
                    timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS),
                    headers=HEADERS,
                    auto_decompress=False,
                ) as session,
                session.get(as_given(url), allow_redirects=False) as response,
            ):
                if response.status in {301, 302, 303, 307, 308}:
                    return response.headers.get("Location", "")
                if response.status != 200:
                    raise MediaError(
                        "media_unavailable",
                        f"The media's server answered {response.status}.",
                        may_pass=response.status in BUSY,
                    )
                path = await self._save(response)
                return Downloaded(path, _named(response), response.content_type)
        except aiohttp.ClientConnectorCertificateError as error:
            raise MediaError(
                "media_unavailable",
                f"The media's server has no valid certificate: {_reason(error)}. "
                "MEDIA_CA_FILE names further authorities.",
            ) from error
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
            raise too_large(self._max_bytes)
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
                raise too_large(self._max_bytes)
            file.write(chunk)
        if size == 0:
            raise MediaError("media_invalid", "The media's server sent nothing.")


def _joined(url: str, further: str) -> str:
    try:
        return urljoin(url, further)
    except ValueError as error:
        raise MediaError("media_refused", "The media URL redirects to no valid URL.") from error


def as_given(url: str) -> URL:
    """The URL to request, byte for byte: signatures cover its spelling. Only what no request may
    have is escaped.
    """
    parts = urlsplit(url)
    if not parts.netloc.isascii():
        return URL(url)
    origin = f"{parts.scheme}://{parts.netloc}"
    url = origin.lower() + url[len(origin) :]
    return URL(_NOT_IN_REQUESTS.sub(lambda found: quote(found[0]), url), encoded=True)


def _named(response: aiohttp.ClientResponse) -> str | None:
    """The file name in `Content-Disposition`, of either form."""
    disposition = response.content_disposition
    return _printable(disposition.filename or "") if disposition else None


def _printable(name: str) -> str | None:
    """The last part of a name, without unprintable characters."""
    name = PurePosixPath(name.replace("\\", "/")).name
    return "".join(filter(str.isprintable, name)) or None


def _reason(error: aiohttp.ClientConnectorCertificateError) -> str:
    """What OpenSSL says, for example `certificate has expired`."""
    cause = error.certificate_error
    return str(getattr(cause, "verify_message", "") or cause).strip(". ")


def too_large(max_bytes: int) -> MediaError:
    return MediaError("media_too_large", f"The media is larger than MEDIA_MAX_BYTES ({max_bytes}).")


def _name_in(url: str) -> str | None:
    """The last path segment as a file name."""
    return _printable(unquote(urlsplit(url).path))
