"""A web server on loopback that answers as no honest one does, and names that lead where they like."""

import asyncio
import gzip
import socket
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, closing, suppress
from typing import Any
from urllib.parse import unquote

from tests.system.pictures import png

BOMB = gzip.compress(bytes(5_000_000))
PIECE = bytes(16 * 1024)
_GETADDRINFO = socket.getaddrinfo


class CraftedServer:
    """Behaves by the path that is asked for. `asked` are paths with the address that was reached."""

    def __init__(self) -> None:
        self.port = 0
        self.asked: list[tuple[str, str]] = []
        self.sent = 0

    @classmethod
    @asynccontextmanager
    async def start(cls, addresses: Sequence[str]) -> AsyncIterator["CraftedServer"]:
        """A running server, on the same port of all addresses."""
        server = cls()
        listening = await asyncio.start_server(server._serve, addresses[0], 0)
        server.port = listening.sockets[0].getsockname()[1]
        others = [await asyncio.start_server(server._serve, a, server.port) for a in addresses[1:]]
        try:
            yield server
        finally:
            for one in (listening, *others):
                one.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with closing(writer), suppress(ConnectionError, asyncio.IncompleteReadError):
            first = await reader.readexactly(1)
            if first == b"\x16":
                return  # TLS, which is not spoken here
            request = (first + await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            path = request.split(" ")[1]
            self.asked.append((writer.get_extra_info("sockname")[0], path))
            name, _, rest = path.removeprefix("/").partition("/")
            await self._behave(name, unquote(rest), writer)

    async def _behave(self, name: str, rest: str, writer: asyncio.StreamWriter) -> None:
        match name:
            case "redirect":
                self._head(writer, 302, f"Location: {rest}")
            case "no-location":
                self._head(writer, 302)
            case "chain":
                further = f"/chain/{int(rest) - 1}" if int(rest) > 1 else "/picture"
                self._head(writer, 307, f"Location: {further}")
            case "status":
                self._head(writer, int(rest))
            case "text":
                self._body(writer, b"this is no picture", "Content-Type: image/png")
            case "page":
                self._body(writer, b"<!doctype html><script>1</script>", "Content-Type: image/png")
            case "empty":
                self._body(writer, b"")
            case "large":
                self._body(writer, png() + bytes(100_000))
            case "gzip" | "deflate" | "br" | "zstd":
                self._body(writer, BOMB, f"Content-Encoding: {name}")
            case "claims-large":
                self._head(writer, 200, "Content-Length: 1000000000000")
                await self._endlessly(writer, PIECE)
            case "breaks-off":
                self._head(writer, 200, "Content-Length: 1000")
                writer.write(png()[:20])
            case "endless":
                self._head(writer, 200)
                await self._endlessly(writer, PIECE)
            case "endless-chunks":
                self._head(writer, 200, "Transfer-Encoding: chunked")
                await self._endlessly(writer, b"4000\r\n" + PIECE + b"\r\n")
            case "drip":
                self._head(writer, 200, "Content-Length: 10000")
                await self._endlessly(writer, b"x", every=0.05)
            case "drips-headers":
                writer.write(b"HTTP/1.1 200 OK\r\n")
                await self._endlessly(writer, b"X", every=0.05)
            case "long-header":
                self._head(writer, 200, f"X-Long: {'x' * 100_000}")
            case "many-headers":
                writer.write(b"HTTP/1.1 200 OK\r\n")
                await self._endlessly(writer, b"X-More: 1\r\n" * 100)
            case "informs":
                await self._endlessly(writer, b"HTTP/1.1 103 Early Hints\r\n\r\n", every=0.01)
            case "silent":
                await asyncio.sleep(30)
            case "garbage":
                writer.write(b"\x16\x03\x01 SSH-2.0 +OK ready\r\n" * 10)
            case "closes":
                pass
            case _:
                self._body(writer, png())

    def _head(self, writer: asyncio.StreamWriter, status: int, *headers: str) -> None:
        lines = (f"HTTP/1.1 {status} Crafted", "Connection: close", *headers)
        writer.write("".join(f"{line}\r\n" for line in lines).encode("latin-1") + b"\r\n")

    def _body(self, writer: asyncio.StreamWriter, body: bytes, *headers: str) -> None:
        self._head(writer, 200, f"Content-Length: {len(body)}", *headers)
        writer.write(body)

    async def _endlessly(
        self, writer: asyncio.StreamWriter, piece: bytes, every: float = 0.0
    ) -> None:
        while True:
            writer.write(piece)
            self.sent += len(piece)
            await writer.drain()
            await asyncio.sleep(every)


class Names:
    """A resolver in place of the system's: knows its own names, and addresses however written.

    A name with several answers gives one at each look-up, the last one from then on.
    """

    def __init__(self, **answers: Sequence[Sequence[str]]) -> None:
        self._answers = {name.replace("_", "."): list(given) for name, given in answers.items()}
        self.looked_up: defaultdict[str, int] = defaultdict(int)

    @property
    def getaddrinfo(self) -> Callable[..., list[Any]]:
        """In place of `socket.getaddrinfo`."""

        def answer(host: str | bytes, port: Any, *how: Any) -> list[Any]:
            name = (host.decode() if isinstance(host, bytes) else str(host)).rstrip(".")
            if name not in self._answers:
                return _numeric(name, port, *how)
            number = min(self.looked_up[name], len(self._answers[name]) - 1)
            self.looked_up[name] += 1
            return [
                found
                for address in self._answers[name][number]
                for found in _numeric(address, port, *how)
            ]

        return answer


def _numeric(host: str, port: Any, *how: Any) -> list[Any]:
    """Without asking anybody: `how` is family, type, protocol and flags, the last of them ours."""
    family, kind, protocol = (*how, 0, 0, 0)[:3]
    return _GETADDRINFO(host, port, family, kind, protocol, socket.AI_NUMERICHOST)
