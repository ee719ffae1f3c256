"""A web server on loopback with media on it, for the product to fetch."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import quote

from aiohttp import web


class MediaServer:
    """Serves what is `put`; answers 404 for the rest."""

    def __init__(self) -> None:
        self._files: dict[str, bytes] = {}
        self.address = ""
        self.requests: list[str] = []

    @classmethod
    @asynccontextmanager
    async def start(cls) -> AsyncIterator["MediaServer"]:
        """A running server."""
        server = cls()
        app = web.Application()
        app.router.add_get("/{name:.+}", server._answer)
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        server.address = f"http://127.0.0.1:{runner.addresses[0][1]}"
        try:
            yield server
        finally:
            await runner.cleanup()

    def put(self, name: str, data: bytes) -> str:
        """Serve this; its URL."""
        self._files[name] = data
        return f"{self.address}/{quote(name)}"

    def redirect(self, name: str, to: str) -> str:
        """Answer this name with a redirect; its URL."""
        self._files[name] = b"->" + to.encode()
        return f"{self.address}/{quote(name)}"

    async def _answer(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        self.requests.append(name)
        data = self._files.get(name)
        if data is None:
            raise web.HTTPNotFound
        if data.startswith(b"->"):
            raise web.HTTPFound(data[2:].decode())
        return web.Response(body=data)
