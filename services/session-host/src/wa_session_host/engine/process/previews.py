"""What a phone shows of a picture before it is downloaded, had from a process that decodes it."""

import asyncio
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path

from pydantic_core import from_json, to_json

from wa_session_host.engine.port import NotSent, Preview, SendRefused

PIXEL_LIMIT = 50_000_000
MEMORY_BYTES = 320 * 1024 * 1024
"""Enough for that many pixels of four bytes, once."""
SECONDS = 15.0
AT_ONCE = 2
"""Of one host."""
ANSWER_BYTES = 256 * 1024

TOO_COSTLY = "The image takes more memory or time to decode than one image is given."


class Previews:
    """Asks a fresh decoder for each picture, a few at a time."""

    def __init__(self, fork_decoder: Callable[[socket.socket], Awaitable[int | None]]) -> None:
        """`hand_over` has a decoder forked at the other end of the socket pair; None if it cannot."""
        self._fork_decoder = fork_decoder
        self._places = asyncio.Semaphore(AT_ONCE)

    async def render(self, path: Path) -> Preview | None:
        """Its size and a thumbnail; None if it cannot be decoded, which does not keep it from being sent.

        Raises:
            Refused: `media_too_large`: it has too many pixels, or decoding it cost too much.
            NotSent: no decoder can be started now, which says nothing about the picture.
        """
        async with self._places:
            answer = await self._ask(path)
        if not answer:
            raise SendRefused("media_too_large", TOO_COSTLY)
        said = from_json(answer)
        if "too_large" in said:
            raise SendRefused("media_too_large", said["too_large"])
        return Preview(**said) if said else None

    async def _ask(self, path: Path) -> bytes:
        """The answer; empty if the decoder has ended without one."""
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
