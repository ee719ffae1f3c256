"""What the address of an endpoint may be: a first look when it is given.

The check that holds is made on the connection of every attempt (outgoing.py).
"""

import asyncio
import socket
from collections.abc import Collection
from urllib.parse import urlsplit

from wa_contracts.runtime.public_address import is_public

LENGTH_LIMIT = 2048
RESOLVE_SECONDS = 3.0


class UrlRefused(ValueError):
    """The URL cannot be that of an endpoint. The text is a sentence for the client."""


async def check_url(url: str, allowed_hosts: Collection[str]) -> None:
    """Pass an http(s) URL whose host has public addresses, is allowed by name, or has none yet.

    Raises:
        UrlRefused: it is none such.
    """
    host, port = _parts(url)
    if host not in allowed_hosts and not all(map(is_public, await _addresses(host, port))):
        raise UrlRefused(
            "'url' leads to a private or special address. "
            "Name its host in WEBHOOK_ALLOWED_HOSTS if that is wanted."
        )


def host_of(url: str) -> str:
    """The host's name, as allowed hosts are named."""
    return (urlsplit(url).hostname or "").lower()


def _parts(url: str) -> tuple[str, int]:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise UrlRefused("'url' is not a valid URL.") from error
    if parts.scheme.lower() not in {"http", "https"} or not parts.hostname:
        raise UrlRefused("'url' must be an http or https URL.")
    if parts.username is not None or parts.password is not None:
        raise UrlRefused("'url' must not carry a user name or password: they would be in logs.")
    if not url.isascii() or not url.isprintable() or " " in url:
        raise UrlRefused("'url' must be written in visible ASCII characters.")
    return parts.hostname.lower(), port or (443 if parts.scheme.lower() == "https" else 80)


async def _addresses(host: str, port: int) -> set[str]:
    """What the name resolves to now; nothing if it does not."""
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(RESOLVE_SECONDS):
            found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):  # TimeoutError among them
        return set()
    return {str(address[0]) for *_, address in found}
