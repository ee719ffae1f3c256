"""Parses foreign URLs: validity, host and port.

Strict where URL parsers differ (control characters, backslashes, user names): the checked host is
the host that a client connects to.
"""

import re
from collections.abc import Collection
from dataclasses import dataclass
from urllib.parse import urlsplit

_DEFAULT_PORTS = {"http": 80, "https": 443}
_UNREADABLE = re.compile(r"[\x00-\x20\x7f\\]")
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f\\]")

# Ports of other protocols, to keep requests from speaking them. Source: fetch.spec.whatwg.org,
# "bad port"; browsers refuse the same ports.
_PORTS_OF_OTHERS = frozenset(
    {
        *(1, 7, 9, 11, 13, 15, 17, 19, 20, 21, 22, 23, 25, 37, 42, 43, 53, 69, 77, 79, 87, 95),
        *(101, 102, 103, 104, 109, 110, 111, 113, 115, 117, 119, 123, 135, 137, 139, 143, 161),
        *(179, 389, 427, 465, 512, 513, 514, 515, 526, 530, 531, 532, 540, 548, 554, 556, 563),
        *(587, 601, 636, 989, 990, 993, 995, 1719, 1720, 1723, 2049, 3659, 4045, 4190, 5060, 5061),
        *(6000, 6566, 6665, 6666, 6667, 6668, 6669, 6679, 6697, 10080),
    }
)


class NotAWebAddress(ValueError):
    """Not a URL to fetch. The text continues a sentence that begins with the URL's name."""


@dataclass(frozen=True)
class WebAddress:
    """Host and port of an http(s) URL. `host` is lower case, an IPv6 address without brackets."""

    host: str
    port: int

    def is_among(self, names: Collection[str]) -> bool:
        """Whether `names` contain this host, with or without this port."""
        forms = (self.host, f"{self.host}:{self.port}", f"[{self.host}]:{self.port}")
        return any(form in names for form in forms)

    @property
    def is_port_of_others(self) -> bool:
        """Whether the port belongs to a protocol other than HTTP."""
        return self.port in _PORTS_OF_OTHERS


def web_address(url: str) -> WebAddress:
    """Parse an http(s) URL.

    Raises:
        NotAWebAddress: invalid; the text reads like "must be an http or https URL".
    """
    try:
        parts = urlsplit(url)
        scheme, host, port = parts.scheme.lower(), (parts.hostname or "").lower(), parts.port
    except ValueError as error:
        raise NotAWebAddress("is not a valid URL") from error
    if scheme not in _DEFAULT_PORTS:
        raise NotAWebAddress("must be an http or https URL")
    if _UNPRINTABLE.search(url) or _UNREADABLE.search(parts.netloc) or port == 0:
        raise NotAWebAddress("is not a valid URL")
    if parts.username is not None or parts.password is not None:
        raise NotAWebAddress("must not carry a user name or password")
    if not host:
        raise NotAWebAddress("names no host")
    return WebAddress(host, port or _DEFAULT_PORTS[scheme])
