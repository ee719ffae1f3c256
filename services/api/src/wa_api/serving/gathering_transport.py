"""A transport that joins all writes of one loop iteration.

uvicorn writes a response's head and body separately, and uvloop sends each write at once. That
costs two system calls here and two wake-ups of the client.
"""

import asyncio
from typing import Any

AT_ONCE = 64 * 1024
"""Bytes. Larger writes go out at once, so that writers notice a slow client."""


class GatheringTransport:
    """Wraps a transport. Only `write` and `close` differ."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._loop = asyncio.get_running_loop()
        self._pieces: list[bytes] = []
        self._size = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        if not self._pieces:
            self._loop.call_soon(self._flush)
        self._pieces.append(data)
        self._size += len(data)
        if self._size >= AT_ONCE:
            self._flush()

    def close(self) -> None:
        """See `asyncio.BaseTransport`. Flushes first."""
        self._flush()
        self._transport.close()

    def _flush(self) -> None:
        if self._pieces:
            data = b"".join(self._pieces)
            self._pieces.clear()
            self._size = 0
            self._transport.write(data)
