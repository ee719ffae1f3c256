"""A connection's transport that writes what comes in one turn of the event loop in one piece.

uvicorn writes an answer's head and its body apart, and uvloop sends each at once: two system calls
here and two wakings of the client.
"""

import asyncio
from typing import Any

AT_ONCE = 64 * 1024
"""Bytes; so much does not wait for the turn's end: writers must hear that the client is slow."""


class GatheringTransport:
    """Stands before a transport; all but writing and ending is the transport's own."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._loop = asyncio.get_running_loop()
        self._pieces: list[bytes] = []
        self._size = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        """See `asyncio.WriteTransport`."""
        if not self._pieces:
            self._loop.call_soon(self._flush)
        self._pieces.append(data)
        self._size += len(data)
        if self._size >= AT_ONCE:
            self._flush()

    def close(self) -> None:
        """See `asyncio.BaseTransport`: what was written goes out before."""
        self._flush()
        self._transport.close()

    def _flush(self) -> None:
        if self._pieces:
            data = b"".join(self._pieces)
            self._pieces.clear()
            self._size = 0
            self._transport.write(data)
