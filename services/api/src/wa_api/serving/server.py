"""Listens on several addresses and serves one application."""

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
"""A client that reads nothing of its response for this long is disconnected by the kernel."""
KEEP_ALIVE_SECONDS = 100
"""Keep-alive time, longer than that of clients and proxies (nginx 60, Go 90), so that they close
first. A request that meets the server's close is lost, and its sender cannot know."""
_LOCALHOST = ("127.0.0.1", "::1")


class CannotListen(Refusal):
    """No address can be listened on. The text says why."""


def listen(host: str, port: int) -> Sequence[socket.socket]:
    """Sockets for a comma-separated list of addresses; `localhost` is IPv4 and IPv6.

    Port 0 selects a free port, the same for all addresses.

    Raises:
        CannotListen: A port is in use, or an address is not available.
    """
    addresses = [
        address
        for name in host.split(",")
        for address in (_LOCALHOST if name.strip() == "localhost" else (name.strip(),))
    ]
    sockets: list[socket.socket] = []
    for address in addresses:
        try:
            sockets.append(_bind(address, port))
        except OSError as error:
            if address != "::1" or not sockets:  # the machine may lack IPv6
                raise CannotListen(
                    f"Cannot listen on {address}:{port}: {error.strerror}."
                ) from error
            log.info("no_ipv6", address=address, reason=error.strerror)
        port = sockets[0].getsockname()[1]
    return sockets


def _bind(address: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if hasattr(socket, "TCP_USER_TIMEOUT"):  # Linux; accepted connections inherit the option
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
    """uvicorn without its signal handlers: main.py ends open waits before the connections."""

    def __init__(
        self,
        app: ASGIApp,
        on_started: Callable[[], None],
        *,
        trusted_proxies: str,
        base_path: str = "",
    ) -> None:
        """Headers of `trusted_proxies` set the client's address and scheme."""
        http = type("GuardedHttpBelow", (GuardedHttp,), {"base_path": base_path})
        super().__init__(
            uvicorn.Config(
                app,
                loop="uvloop",
                http=http,
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
        """Install no signal handlers."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start serving, then call `on_started`."""
        await super().startup(sockets=sockets)
        self._on_started()
