"""A CONNECT proxy that leads every client to the stand-in, whichever host it asks for."""

import asyncio
import contextlib

_REQUEST_SECONDS = 10.0
_CHUNK_BYTES = 1 << 16


class Proxy:
    """Pipes each tunnel to one address. While it is not `is_open`, it refuses and hangs up."""

    def __init__(self, host: str, port: int) -> None:
        self._host = host
        self.leads_to = port
        self.requests: list[bytes] = []
        self._server: asyncio.Server | None = None
        self._tunnels: set[asyncio.StreamWriter] = set()
        self.is_open = True

    @property
    def url(self) -> str:
        """What belongs in `HTTPS_PROXY`."""
        if self._server is None:
            raise AssertionError("used before start")
        host, port = self._server.sockets[0].getsockname()[:2]
        return f"http://{host}:{port}"

    async def start(self) -> None:
        """Listen on a free port."""
        self._server = await asyncio.start_server(self._serve, self._host, 0)

    async def stop(self) -> None:
        """Hang up, and listen no more."""
        self.hang_up()
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()

    def hang_up(self) -> None:
        """Break every tunnel."""
        for writer in list(self._tunnels):
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._tunnels.add(writer)
        try:
            async with asyncio.timeout(_REQUEST_SECONDS):
                request = await reader.readuntil(b"\r\n\r\n")
            self.requests.append(request)
            if not self.is_open or not request.startswith(b"CONNECT "):
                writer.write(b"HTTP/1.1 503 Service Unavailable\r\n\r\n")
                return
            upstream_reader, upstream_writer = await asyncio.open_connection(
                self._host, self.leads_to
            )
            self._tunnels.add(upstream_writer)
            try:
                writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
                await _pipe_both(reader, writer, upstream_reader, upstream_writer)
            finally:
                await self._forget(upstream_writer)
        except (TimeoutError, asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            await self._forget(writer)

    async def _forget(self, writer: asyncio.StreamWriter) -> None:
        self._tunnels.discard(writer)
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


async def _pipe_both(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    upstream_reader: asyncio.StreamReader,
    upstream_writer: asyncio.StreamWriter,
) -> None:
    """Copy both ways until one side ends, then break both."""
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(_pipe(reader, upstream_writer))
        tasks.create_task(_pipe(upstream_reader, writer))


async def _pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while chunk := await reader.read(_CHUNK_BYTES):
            writer.write(chunk)
            await writer.drain()
    except ConnectionError:
        pass
    finally:
        writer.close()
