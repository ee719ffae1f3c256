"""One delivery attempt: a POST whose address is checked on the connection itself.

No redirects, no cookies, no proxies from the environment. Time and size are limited.
"""

import time
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import aiohttp

from wa_api.webhooks.delivering.addresses import is_allowed
from wa_api.webhooks.delivering.attempt import Attempt
from wa_runtime.public_address import caused_by_refusal, socket_factory

CHUNK = 16 * 1024
ANSWER_BYTES = 64 * 1024
"""Limit for reading a response body. Only the status matters."""
USER_AGENT = "whatsapp-multi-session-manager"


class EndpointConnection:
    """Posts to one URL, reusing one connection while the server keeps it open."""

    def __init__(self, session: aiohttp.ClientSession, url: str, answer_seconds: float) -> None:
        self._session = session
        self._url = url
        self._answer_seconds = answer_seconds

    async def post(self, body: str, headers: Mapping[str, str]) -> Attempt:
        """Post a JSON body. Failures are returned, never raised."""
        began = time.monotonic()
        status, retry_after = None, None
        try:
            async with self._session.post(
                self._url,
                data=body.encode(),
                headers={"Content-Type": "application/json", **headers},
                allow_redirects=False,
            ) as answer:
                status, retry_after = answer.status, _retry_after(answer.headers)
                await _read(answer)
            error = _refusal(status)
        except (aiohttp.ClientError, OSError, ValueError) as failure:  # including TimeoutError
            error = self._sentence(failure, answered=status is not None)
        return Attempt(status, error, time.monotonic() - began, retry_after)

    def _sentence(self, failure: Exception, *, answered: bool) -> str:
        if caused_by_refusal(failure):
            return (
                "Its name leads to a private or special address, which is not reached from here. "
                "Name its host in WEBHOOK_ALLOWED_HOSTS if that is wanted."
            )
        if isinstance(failure, aiohttp.ClientConnectorDNSError):
            return "Its name does not resolve."
        if isinstance(failure, aiohttp.ConnectionTimeoutError):
            return "It cannot be connected to in time."
        if isinstance(failure, TimeoutError):
            return f"It did not answer within {self._answer_seconds:g} s."
        if isinstance(failure, aiohttp.ClientConnectorCertificateError):
            return "Its certificate is not valid."
        if isinstance(failure, aiohttp.ClientConnectorError):
            return "It cannot be connected to."
        return "It broke off its answer." if answered else "It closed the connection unanswered."


class HttpSender:
    """Opens connections to endpoints. Hosts in `allowed_hosts` may be private."""

    def __init__(
        self, *, allowed_hosts: Collection[str], connect_seconds: float, answer_seconds: float
    ) -> None:
        self._allowed_hosts = allowed_hosts
        self._connect_seconds = connect_seconds
        self._answer_seconds = answer_seconds

    @asynccontextmanager
    async def connection(self, url: str) -> AsyncIterator[EndpointConnection]:
        """A connection for several deliveries. The host is resolved once per connection."""
        connector = aiohttp.TCPConnector(
            socket_factory=socket_factory(private_too=is_allowed(url, self._allowed_hosts)),
            use_dns_cache=False,
            limit=1,
        )
        async with aiohttp.ClientSession(
            connector=connector,
            timeout=aiohttp.ClientTimeout(
                total=self._answer_seconds, sock_connect=self._connect_seconds
            ),
            headers={"User-Agent": USER_AGENT},
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
        ) as session:
            yield EndpointConnection(session, url, self._answer_seconds)


async def _read(answer: aiohttp.ClientResponse) -> None:
    """Read to the end, so that a broken response is an error. A long one is cut off."""
    size = 0
    async for chunk in answer.content.iter_chunked(CHUNK):
        size += len(chunk)
        if size > ANSWER_BYTES:
            answer.close()
            return


def _refusal(status: int) -> str | None:
    if 200 <= status < 300:
        return None
    if 300 <= status < 400:
        return f"It answered {status}: redirects are not followed."
    return f"It answered {status}."


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Retry-After in seconds, from a number or a date; None if absent or invalid."""
    given = headers.get("Retry-After", "").strip()
    if given.isascii() and given.isdigit():
        return float(given[:9])
    try:
        at = parsedate_to_datetime(given)
    except ValueError:
        return None
    at = at if at.tzinfo else at.replace(tzinfo=UTC)
    return max(0.0, (at - datetime.now(UTC)).total_seconds())
