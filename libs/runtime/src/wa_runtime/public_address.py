"""Restricts requests with a foreign URL to public addresses, checked on the socket itself.

Whatever a name resolved to, a socket to a private, loopback, link-local or otherwise special
address is never opened. For HTTP clients with a socket factory (aiohttp's connector).
"""

import ipaddress
import socket
from collections.abc import Callable
from typing import Any, TypeAlias

AddressInfo: TypeAlias = tuple[Any, ...]
"""A result of `getaddrinfo`: family, kind, protocol, canonical name, address."""


_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_GLOBAL_UNICAST = ipaddress.ip_network("2000::/3")
"""All allocated IPv6 unicast. The rest is special (site-local, IPv4-compatible, …)."""
_NEVER = (
    ipaddress.ip_network(
        "168.63.129.16/32"
    ),  # a cloud's metadata server, beside its 169.254.169.254
    ipaddress.ip_network(
        "192.0.0.0/24"
    ),  # IETF protocol assignments, and another cloud's metadata server
    ipaddress.ip_network("3fff::/20"),  # documentation; unknown to Python 3.11
)


class AddressRefused(OSError):
    """The socket was not opened: its address is not public."""


def socket_factory(*, private_too: bool) -> Callable[[AddressInfo], socket.socket]:
    """Return a socket factory for public addresses, or for all addresses.

    The factory raises AddressRefused.
    """

    def open_socket(info: AddressInfo) -> socket.socket:
        family, kind, protocol, _, address = info
        if not private_too and not is_public(str(address[0])):
            raise AddressRefused(f"refused address {address[0]}")
        return socket.socket(family, kind, protocol)

    return open_socket


def is_public(address: str) -> bool:
    """Whether an IP address is public, embedded IPv4 addresses included."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        inner = ip.ipv4_mapped or ip.sixtofour or (ip.teredo[1] if ip.teredo else None)
        if inner is not None:
            return is_public(str(inner))
        if ip in _NAT64:
            return is_public(str(ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)))
        if ip not in _GLOBAL_UNICAST:
            return False
    return ip.is_global and not ip.is_multicast and not any(ip in one for one in _NEVER)


def caused_by_refusal(error: BaseException) -> bool:
    """Whether an HTTP client's error wraps an AddressRefused."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, AddressRefused) or "refused address" in str(seen):
            return True
        seen = seen.__cause__ or seen.__context__
    return False
