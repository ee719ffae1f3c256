"""Checks the URL of an endpoint when the operator sets it.

The authoritative check runs on the connection of every attempt (http_attempt.py).
"""

import asyncio
import socket
from collections.abc import Collection

from wa_runtime.public_address import is_public
from wa_runtime.web_address import NotAWebAddress, WebAddress, web_address

LENGTH_LIMIT = 2048
RESOLVE_SECONDS = 3.0


class UrlRefused(ValueError):
    """The URL is not allowed for an endpoint. The text is a sentence for the client."""


async def check_url(url: str, allowed_hosts: Collection[str]) -> None:
    """Accept an http(s) URL whose host is public, allowed by name, or does not resolve yet.

    Raises:
        UrlRefused: The URL is not allowed.
    """
    address = _checked(url)
    if address.is_among(allowed_hosts):
        return
    if address.is_port_of_others:
        raise UrlRefused(f"'url' names port {address.port}, which is not for the web.")
    if not all(map(is_public, await _addresses(address))):
        raise UrlRefused(
            "'url' leads to a private or special address. "
            "Name its host in WEBHOOK_ALLOWED_HOSTS if that is wanted."
        )


def is_allowed(url: str, allowed_hosts: Collection[str]) -> bool:
    """True if WEBHOOK_ALLOWED_HOSTS lets the URL's host be private."""
    try:
        return web_address(url).is_among(allowed_hosts)
    except NotAWebAddress:
        return False


def _checked(url: str) -> WebAddress:
    try:
        address = web_address(url)
    except NotAWebAddress as error:
        why = ": they would be in logs" if "password" in str(error) else ""
        raise UrlRefused(f"'url' {error}{why}.") from error
    if not url.isascii() or not url.isprintable() or " " in url:
        raise UrlRefused("'url' must be written in visible ASCII characters.")
    return address


async def _addresses(address: WebAddress) -> set[str]:
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(RESOLVE_SECONDS):
            found = await loop.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):  # including TimeoutError
        return set()
    return {str(socket_address[0]) for *_, socket_address in found}
