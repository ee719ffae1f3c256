"""Previews of pictures, made by decoder processes."""

import asyncio
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path

from pydantic_core import from_json, to_json

from wa_session_host.engine.port import NotSent, Preview, SendRefused

PIXEL_LIMIT = 50_000_000
MEMORY_BYTES = 320 * 1024 * 1024
"""Enough for PIXEL_LIMIT pixels of four bytes, once."""
SECONDS = 15.0
AT_ONCE = 2
ANSWER_BYTES = 256 * 1024

TOO_COSTLY = "The image takes more memory or time to decode than one image is given."


class Previews:
    """Runs a fresh decoder for each picture, a few at a time."""

    def __init__(self, fork_decoder: Callable[[socket.socket], Awaitable[int | None]]) -> None:
        """`fork_decoder` forks a decoder around its end of a socket pair; None on failure."""
        self._fork_decoder = fork_decoder
        self._slots = asyncio.Semaphore(AT_ONCE)

    async def render(self, path: Path) -> Preview | None:
        """Size and thumbnail of a picture; None if the file cannot be decoded.

        Raises:
            SendRefused: `media_too_large`: too many pixels, or decoding exceeded its limits.
            NotSent: no decoder could be started.
        """
        async with self._slots:
            answer = await self._ask(path)
        if not answer:
            raise SendRefused("media_too_large", TOO_COSTLY)
        said = from_json(answer)
        if "too_large" in said:
            raise SendRefused("media_too_large", said["too_large"])
        return Preview(**said) if said else None

    async def _ask(self, path: Path) -> bytes:
        """The decoder's answer; empty if the decoder ended without one."""
        ours, theirs = socket.socketpair()
        try:
            pid = await self._fork_decoder(theirs)
        finally:
            theirs.close()
        if pid is None:
            ours.close()
            raise NotSent("No process could be started to decode the image.")
        reader, writer = await asyncio.open_connection(sock=ours)
        request = {
            "path": str(path.absolute()),
            "pixels": PIXEL_LIMIT,
            "memory": MEMORY_BYTES,
            "seconds": SECONDS,
        }
        try:
            async with asyncio.timeout(SECONDS + 5):
                writer.write(to_json(request))
                return await reader.read(ANSWER_BYTES)
        except (TimeoutError, ConnectionError):
            return b""
        finally:
            writer.close()
