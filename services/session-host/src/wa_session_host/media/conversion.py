"""Outgoing media as phones show them, made by decoder processes."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import NamedTuple

from pydantic_core import from_json, to_json

from wa_contracts.internal.commands import MessageType
from wa_session_host.decoding.outcome import Converted
from wa_session_host.engine.port import MediaDetails, MediaFile
from wa_session_host.media.media_error import MediaError

PIXEL_LIMIT = 50_000_000
ANSWER_BYTES = 256 * 1024


class Limits(NamedTuple):
    """What one decoder may use, and how many run at once per host."""

    memory: int
    seconds: float
    at_once: int


PICTURES = Limits(memory=320 * 1024 * 1024, seconds=15.0, at_once=2)
"""Enough for PIXEL_LIMIT pixels of four bytes, once."""
STREAMS = Limits(memory=512 * 1024 * 1024, seconds=60.0, at_once=2)
"""Enough to encode a video of 1920 by 1080 pixels. Longer videos than a minute's work allows are
refused."""

StartDecoder = Callable[[socket.socket], Awaitable[int | None]]
"""Starts a decoder around its end of a socket pair; None on failure."""


class Converter:
    """Runs a fresh decoder for each file, a few at a time."""

    def __init__(self, start_decoder: StartDecoder, *, spool: Path, max_bytes: int) -> None:
        """Converted files lie in `spool` and have at most `max_bytes`."""
        self._start_decoder = start_decoder
        self._spool = spool
        self._max_bytes = max_bytes
        self._slots = {one: asyncio.Semaphore(one.at_once) for one in (PICTURES, STREAMS)}

    @asynccontextmanager
    async def converted(
        self, kind: MessageType, path: Path, name: str | None
    ) -> AsyncIterator[MediaFile]:
        """The file as phones show it, inside the block: the given one, or another.

        Raises:
            MediaError: `media_invalid`: not of the type, damaged, or of no format that can be
                converted; `media_too_large`: beyond the limits of a decoder; `media_unavailable`:
                no decoder could be started, which may pass.
        """
        self._spool.mkdir(parents=True, exist_ok=True)
        with NamedTemporaryFile(dir=self._spool) as output:
            limits = PICTURES if kind in {"image", "sticker"} else STREAMS
            async with self._slots[limits]:
                answer = await self._ask(kind, path, Path(output.name), limits)
            if not answer:
                raise MediaError("media_too_large", _too_costly(kind, limits))
            said = from_json(answer)
            if "code" in said:
                raise MediaError(said["code"], said["message"])
            found = Converted(**said)
            yield MediaFile(
                path=Path(output.name) if found.is_new else path,
                mime_type=found.mime_type,
                file_name=name,
                details=MediaDetails(
                    width=found.width,
                    height=found.height,
                    thumbnail=found.thumbnail,
                    seconds=found.seconds,
                    waveform=found.waveform,
                    is_animated=found.is_animated,
                ),
            )

    async def _ask(self, kind: str, path: Path, output: Path, limits: Limits) -> bytes:
        """The decoder's answer; empty if the decoder ended without one."""
        ours, theirs = socket.socketpair()
        try:
            pid = await self._start_decoder(theirs)
        finally:
            theirs.close()
        if pid is None:
            ours.close()
            message = "No process could be started to decode the media."
            raise MediaError("media_unavailable", message, may_pass=True)
        reader, writer = await asyncio.open_connection(sock=ours)
        request = {
            "kind": kind,
            "path": str(path.absolute()),
            "output": str(output.absolute()),
            "pixels": PIXEL_LIMIT,
            "memory": limits.memory,
            "output_bytes": self._max_bytes,
            "seconds": limits.seconds,
        }
        try:
            async with asyncio.timeout(limits.seconds + 5):
                writer.write(to_json(request))
                return await reader.read(ANSWER_BYTES)
        except (TimeoutError, ConnectionError):
            return b""
        finally:
            writer.close()


def _too_costly(kind: str, limits: Limits) -> str:
    return (
        f"The {kind} takes more memory or time to decode than one file is given "
        f"({limits.memory // 1024**2} MiB, {limits.seconds:g} s)."
    )
