"""A TCP proxy that behaves as bad networks do: cuts, delays, loses answers, passes nothing on."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from urllib.parse import urlsplit


class Proxy:
    """In front of one server.

    `mute` throws the server's answers away, `delay` (seconds) holds every piece of data back in
    both directions, `half_open` passes nothing on and closes nothing, as when a cable is pulled.
    """

    def __init__(self, host: str, port: int) -> None:
        self._target = (host, port)
        self._writers: set[asyncio.StreamWriter] = set()
        self._clients: set[asyncio.StreamWriter] = set()
        self._stranded: set[asyncio.StreamWriter] = set()
        self.mute = False
        self.delay = 0.0
        self.half_open = False
        self.accepting = True

    def cut(self) -> None:
        """End all connections as a network does."""
        self.forget_stranded()
        for writer in self._writers:
            writer.transport.abort()

    def strand(self) -> None:
        """End all connections for the clients alone: the server goes on holding them."""
        self._stranded |= self._writers - self._clients
        for writer in self._clients:
            writer.transport.abort()

    def forget_stranded(self) -> None:
        """End, for the server too, the connections that it alone holds."""
        for writer in self._stranded:
            writer.transport.abort()
        self._stranded.clear()

    def heal(self) -> None:
        """Be an ordinary wire again. Connections that missed something are cut."""
        damaged = self.mute or self.half_open
        self.mute, self.delay, self.half_open, self.accepting = False, 0.0, False, True
        if damaged:
            self.cut()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One client."""
        if not self.accepting:
            writer.transport.abort()
            return
        try:
            server_reader, server_writer = await asyncio.open_connection(*self._target)
        except OSError:
            writer.transport.abort()
            return
        self._writers |= {writer, server_writer}
        self._clients.add(writer)
        with suppress(OSError):
            async with asyncio.TaskGroup() as group:
                group.create_task(self._pass(reader, server_writer, is_answer=False))
                group.create_task(self._pass(server_reader, writer, is_answer=True))
        self._writers -= {writer, server_writer}
        self._clients.discard(writer)

    async def _pass(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, is_answer: bool
    ) -> None:
        with suppress(OSError):
            while data := await reader.read(65_536):
                if self.delay:
                    await asyncio.sleep(self.delay)
                if not (self.half_open or (is_answer and self.mute)):
                    writer.write(data)
                    await writer.drain()
        if writer not in self._stranded:
            writer.close()


@asynccontextmanager
async def proxy_to(url: str) -> AsyncIterator[tuple[Proxy, str]]:
    """A proxy to the server of that URL, and the same URL through it."""
    parts = urlsplit(url)
    assert parts.hostname is not None
    assert parts.port is not None
    proxy = Proxy(parts.hostname, parts.port)
    server = await asyncio.start_server(proxy.serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    try:
        yield proxy, url.replace(f"{parts.hostname}:{parts.port}", f"127.0.0.1:{port}")
    finally:
        server.close()
        proxy.cut()
