"""A reader of `GET /api/events`, light enough for hundreds of them."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp


class EventStream:
    """One open stream. `last_id` is what a browser would come back with."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response
        self.last_id: str | None = None

    async def next(self) -> dict[str, Any]:
        """The next event's envelope.

        Raises:
            aiohttp.ClientError, EOFError: the stream ended.
        """
        fields: dict[str, str] = {}
        while line := await self._response.content.readline():
            name, _, value = line.decode().rstrip("\n").partition(": ")
            if name:
                fields[name] = value
                continue
            self.last_id = fields.get("id", self.last_id)
            if "data" in fields:
                envelope: dict[str, Any] = json.loads(fields["data"])
                assert envelope["type"] == fields["event"]
                return envelope
            fields = {}
        raise EOFError

    async def opened(self) -> None:
        """Read what comes first: the position from which it follows."""
        while self.last_id is None:
            line = (await self._response.content.readline()).decode()
            if line.startswith("id: "):
                self.last_id = line.removeprefix("id: ").strip()


@asynccontextmanager
async def following(
    url: str, token: str, *, last_id: str | None = None, **wanted: Any
) -> AsyncIterator[EventStream]:
    """Follow events at an api; `wanted` are the query's filters."""
    headers = {"Authorization": f"Bearer {token}"}
    if last_id is not None:
        headers["Last-Event-ID"] = last_id
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=20, sock_read=30)
    connector = aiohttp.TCPConnector(force_close=True)
    async with (
        aiohttp.ClientSession(
            timeout=timeout, connector=connector, read_bufsize=1 << 20
        ) as session,
        session.get(f"{url}/api/events", headers=headers, params=wanted) as response,
    ):
        assert response.status == 200, await response.text()
        stream = EventStream(response)
        await stream.opened()
        yield stream
