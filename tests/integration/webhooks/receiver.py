"""A server of webhooks that does what its path is told to do, and remembers what it was sent."""

import asyncio
import json
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from aiohttp import web

Behaviour = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True)
class Received:
    """One request. `at` is the loop's time at its arrival."""

    path: str
    headers: Mapping[str, str]
    body: str
    at: float

    @property
    def event(self) -> dict[str, Any]:
        """The envelope."""
        read: dict[str, Any] = json.loads(self.body)
        return read

    @property
    def sequence(self) -> int:
        """Of the event in its session."""
        return int(self.event["sessionSequence"])

    @property
    def webhook_id(self) -> str:
        """By which receivers know duplicates."""
        return self.headers["webhook-id"]


async def ok(_: web.Request) -> web.StreamResponse:
    """As it should be."""
    return web.Response(status=204)


def answers(status: int, **headers: str) -> Behaviour:
    """Always this status."""

    async def answer(_: web.Request) -> web.StreamResponse:
        return web.Response(
            status=status, headers={k.replace("_", "-"): headers[k] for k in headers}
        )

    return answer


async def hangs(_: web.Request) -> web.StreamResponse:
    """Takes the request and never answers."""
    await asyncio.sleep(3600)
    raise AssertionError


async def breaks_off(request: web.Request) -> web.StreamResponse:
    """Begins a 200 and closes the connection before its promised end."""
    response = web.StreamResponse(status=200, headers={"Content-Length": "1000"})
    await response.prepare(request)
    await response.write(b"so far")
    assert request.transport is not None
    request.transport.abort()
    return response


async def hangs_up(request: web.Request) -> web.StreamResponse:
    """Closes the connection without a word."""
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


class Receiver:
    """`behaviours` by path; a path that nobody spoke of answers 204."""

    def __init__(self) -> None:
        self.behaviours: dict[str, Behaviour] = {}
        self.received: dict[str, list[Received]] = defaultdict(list)
        self.port = 0

    def url(self, path: str, host: str = "127.0.0.1") -> str:
        """Where that path is."""
        return f"http://{host}:{self.port}{path}"

    async def take(self, request: web.Request) -> web.StreamResponse:
        """Remember it, then do as told."""
        body = await request.text()
        at = asyncio.get_running_loop().time()
        path = request.path
        self.received[path].append(Received(path, dict(request.headers), body, at))
        return await self.behaviours.get(path, ok)(request)


@asynccontextmanager
async def running_receiver() -> AsyncIterator[Receiver]:
    """On all of 127.0.0.0/8, on a port of its own."""
    receiver = Receiver()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", receiver.take)
    runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "0.0.0.0", 0).start()
        receiver.port = runner.addresses[0][1]
        yield receiver
    finally:
        await runner.cleanup()
