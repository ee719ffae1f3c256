"""A first look at a `mediaUrl`, without any network: what is plainly refused is refused at once.

The authoritative check is session-host's, on the connection itself.
"""

import re
import socket
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")


class MediaRefused(ValueError):
    """The address or path is refused; the text is a sentence for the client."""


@dataclass(frozen=True)
class MediaAddressRule:
    """What a media address may be. `allowed_hosts` may be private all the same."""

    root: Path
    allowed_hosts: frozenset[str]

    def check(self, media_url: str) -> None:
        """Pass an http(s) URL of a public host or a path under the media root.

        Raises:
            MediaRefused: it is neither.
        """
        if _SCHEME.match(media_url):
            self._check_url(media_url)
        else:
            self._check_path(media_url)

    def _check_url(self, media_url: str) -> None:
        try:
            url = urlsplit(media_url)
            port = url.port
        except ValueError as error:
            raise MediaRefused("'mediaUrl' is not a valid URL.") from error
        if url.scheme.lower() not in {"http", "https"}:
            raise MediaRefused("'mediaUrl' must be an http or https URL, or a local path.")
        if url.username is not None or url.password is not None:
            raise MediaRefused("'mediaUrl' must not carry a user name or password.")
        if not url.hostname:
            raise MediaRefused("'mediaUrl' names no host.")
        if not self._is_allowed(url, port) and _is_plainly_private(url.hostname):
            raise MediaRefused(
                "'mediaUrl' points to a private address, which is not reached from here."
            )

    def _is_allowed(self, url: SplitResult, port: int | None) -> bool:
        host = (url.hostname or "").lower()
        port = port or (443 if url.scheme.lower() == "https" else 80)
        return bool({host, f"{host}:{port}", f"[{host}]:{port}"} & self.allowed_hosts)

    def _check_path(self, media_url: str) -> None:
        root = self.root.resolve()
        try:
            path = (root / media_url).resolve()
        except (OSError, RuntimeError, ValueError) as error:
            raise MediaRefused("'mediaUrl' is not a valid path.") from error
        if not path.is_relative_to(root) or path == root:
            raise MediaRefused("'mediaUrl' is a path outside the media directory.")


def _is_plainly_private(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    address = _literal(host)
    return address is not None and (not address.is_global or address.is_multicast)


def _literal(host: str) -> IPv4Address | IPv6Address | None:
    """The address that a host spells out, also as resolvers read `127.1` or `0x7f000001`."""
    try:
        address = ip_address(host.partition("%")[0])
    except ValueError:
        try:
            return IPv4Address(socket.inet_aton(host))
        except OSError:
            return None
    return getattr(address, "ipv4_mapped", None) or address
