"""The process that decodes one picture, forked for it by the fork server and ended after it.

Whatever a crafted file does to a decoder happens here: this process has limits of its own on
memory and time, is the first that the kernel ends when memory runs out, and shares nothing with
the host or with a session's engine. Pillow opens the formats below only: others start programs
(EPS) or have few eyes on them. Videos are not decoded at all.
"""

import io
import os
import resource
import signal
import socket
from base64 import b64encode
from pathlib import Path

from PIL import Image, WebPImagePlugin
from pydantic_core import from_json, to_json

THUMBNAIL_PIXELS = 72
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP")
REQUEST_BYTES = 64 * 1024


def preload() -> None:
    """Import the formats, so that each decoder need not."""
    Image.preinit()
    assert WebPImagePlugin.WebPImageFile.format in FORMATS


def main(connection: socket.socket) -> int:
    """Answer the one request that comes over this socket: JSON in, JSON out, an end of the stream.

    The request has `path`, and the limits `pixels`, `memory` (bytes) and `seconds`. The answer has
    `width`, `height` and `thumbnail` (base64 of a JPEG), or nothing if it is no picture that can be
    decoded, or `too_large`, a sentence.
    """
    request = from_json(connection.recv(REQUEST_BYTES))
    _limit(memory=request["memory"], seconds=request["seconds"])
    try:
        answer = _picture(Path(request["path"]), request["pixels"])
    except MemoryError:
        os._exit(1)
    connection.sendall(to_json(answer))
    return 0


def _limit(*, memory: int, seconds: float) -> None:
    """What the fork server has is shared and counts for nothing; `memory` comes on top.

    Addresses (RLIMIT_AS) are no measure: the allocator has reserved more than it uses.
    """
    Path("/proc/self/oom_score_adj").write_text("1000")
    has = int(Path("/proc/self/statm").read_text().split()[5]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_DATA, (has + memory, has + memory))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_REAL, seconds)


def _picture(path: Path, pixels: int) -> dict[str, int | str]:
    Image.MAX_IMAGE_PIXELS = None  # the check below is stricter, and says so in our own words
    try:
        with Image.open(path, formats=FORMATS) as image:
            width, height = image.size
            if width * height > pixels:
                return {
                    "too_large": f"The image has {width} x {height} pixels; "
                    f"at most {pixels:,} are sent."
                }
            image.thumbnail((THUMBNAIL_PIXELS, THUMBNAIL_PIXELS))
            out = io.BytesIO()
            image.convert("RGB").save(out, "JPEG", quality=60)
    except (OSError, ValueError, SyntaxError, EOFError):
        return {}
    return {"width": width, "height": height, "thumbnail": b64encode(out.getvalue()).decode()}
