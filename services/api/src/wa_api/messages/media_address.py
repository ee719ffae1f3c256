"""Early check of a `mediaUrl`, without network access.

The authoritative check is session-host's, on the connection itself.
"""

import mimetypes
import re
import socket
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

from wa_runtime.links import follow_links
from wa_runtime.public_address import is_public
from wa_runtime.web_address import NotAWebAddress, web_address

_HOST = re.compile(r"(?:[a-z0-9-]+\.)+[a-z]{2,}(?::[0-9]+)?/", re.IGNORECASE)
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")


class MediaRefused(ValueError):
    """The URL or path is refused. The text is a sentence for the client."""


@dataclass(frozen=True)
class MediaAddressRule:
    """Allowed media addresses. Hosts in `allowed_hosts` may be private."""

    root: Path
    allowed_hosts: frozenset[str]

    def check(self, media_url: str) -> None:
        """Accept an http(s) URL of a public host, or a path under the media root.

        Raises:
            MediaRefused: The address is not allowed.
        """
        if media_url != media_url.strip():
            raise MediaRefused("'mediaUrl' begins or ends with a space: leave it out.")
        if _SCHEME.match(media_url):
            self._check_url(media_url)
        else:
            self._check_path(media_url)

    def _check_url(self, media_url: str) -> None:
        try:
            address = web_address(media_url)
        except NotAWebAddress as error:
            also = ", or a local path" if "http or https" in str(error) else ""
            raise MediaRefused(f"'mediaUrl' {error}{also}.") from error
        if address.is_among(self.allowed_hosts):
            return
        if _is_plainly_private(address.host):
            raise MediaRefused(
                "'mediaUrl' points to a private address, which is not reached from here."
            )
        if address.is_port_of_others:
            raise MediaRefused(f"'mediaUrl' names port {address.port}, which is not for the web.")

    def _check_path(self, media_url: str) -> None:
        root = self.root.resolve()
        try:
            path = follow_links(root / media_url)
        except (OSError, RuntimeError, ValueError) as error:
            raise MediaRefused("'mediaUrl' is not a valid path.") from error
        if not path.is_relative_to(root) or path == root:
            raise MediaRefused("'mediaUrl' is a path outside the media directory.")
        if _is_like_host(media_url) and not path.exists():
            raise MediaRefused(
                f"'mediaUrl' has no scheme: write https://{media_url.lstrip('/')}, "
                "or the path of a file in the media directory."
            )


def _is_like_host(media_url: str) -> bool:
    """Whether the first part of a path looks like `example.com`, and not like `photo.png`."""
    host = _HOST.match(media_url)
    if host is None:
        return False
    kind = mimetypes.guess_type(host[0].rstrip("/"))[0] or ""
    return not kind.startswith(("image/", "video/", "audio/"))


def _is_plainly_private(host: str) -> bool:
    name = host.rstrip(".")
    if name == "localhost" or name.endswith(".localhost"):
        return True
    address = _literal(name)
    return address is not None and not is_public(address)


def _literal(host: str) -> str | None:
    """The IP address in a host, also in resolver notations such as `127.1` or `0x7f000001`."""
    try:
        return str(ip_address(host.partition("%")[0]))
    except ValueError:
        try:
            return socket.inet_ntoa(socket.inet_aton(host))
        except (OSError, ValueError):
            return None
