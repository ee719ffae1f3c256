"""Listening and serving: several addresses, one application, an orderly end."""

import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import structlog
import uvicorn
from starlette.types import ASGIApp

from wa_api.refusal import Refusal
from wa_api.serving.guarded_http import GuardedHttp

log = structlog.get_logger()

BACKLOG = 2048
DRAIN_SECONDS = 8
STALLED_SECONDS = 60.0
"""A client that takes nothing of its answer for so long is cut off; the kernel sees to it."""
KEEP_ALIVE_SECONDS = 100
"""How long a connection stays open between two requests: longer than clients and proxies keep theirs
(nginx 60, Go 90). Who closes first decides: a request that meets the server's close is lost, and its
sender can't know whether it was taken.
"""
_LOCALHOST = ("127.0.0.1", "::1")


class CannotListen(Refusal):
    """None of the addresses can be listened on; the text says why."""


def listen(host: str, port: int) -> Sequence[socket.socket]:
    """Sockets for a comma-separated list of addresses; `localhost` is IPv4 and IPv6.

    Port 0 takes a free one, the same for all addresses.

    Raises:
        CannotListen: a port is taken, or no address can be had.
    """
    addresses = [
        address
        for name in host.split(",")
        for address in (_LOCALHOST if name.strip() == "localhost" else (name.strip(),))
    ]
    sockets: list[socket.socket] = []
    for address in addresses:
        try:
            sockets.append(_bound(address, port))
        except OSError as error:
            if address != "::1" or not sockets:  # a machine may have no IPv6
                raise CannotListen(
                    f"Cannot listen on {address}:{port}: {error.strerror}."
                ) from error
            log.info("no_ipv6", address=address, reason=error.strerror)
        port = sockets[0].getsockname()[1]
    return sockets


def _bound(address: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if hasattr(socket, "TCP_USER_TIMEOUT"):  # Linux; accepted connections inherit it
        milliseconds = round(STALLED_SECONDS * 1000)
        bound.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, milliseconds)
    if family == socket.AF_INET6:
        only_v6 = address != "::"
        bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(only_v6))
    try:
        bound.bind((address, port))
    except OSError:
        bound.close()
        raise
    bound.set_inheritable(True)
    return bound


class Server(uvicorn.Server):
    """uvicorn, with signals left to main.py, which has waits to end before the connections."""

    def __init__(
        self, app: ASGIApp, on_started: Callable[[], None], *, trusted_proxies: str
    ) -> None:
        """`trusted_proxies` may say who the client is and whether it speaks TLS."""
        super().__init__(
            uvicorn.Config(
                app,
                loop="uvloop",
                http=GuardedHttp,
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                forwarded_allow_ips=trusted_proxies,
                backlog=BACKLOG,
                timeout_keep_alive=KEEP_ALIVE_SECONDS,
                timeout_graceful_shutdown=DRAIN_SECONDS,
            )
        )
        self._on_started = on_started

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the signals alone."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start serving, then say so."""
        await super().startup(sockets=sockets)
        self._on_started()
