"""Decodes one picture in a process of its own, forked by the fork server.

The process isolates decoders from crafted files. It limits its own memory and time, is the
kernel's first victim when memory runs out, and shares nothing with the host or a session's engine.
Pillow opens only the formats below: others start programs (EPS) or are rarely reviewed. Videos are
not decoded.
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
    """Import the formats once, for all decoders."""
    Image.preinit()
    assert WebPImagePlugin.WebPImageFile.format in FORMATS


def main(connection: socket.socket) -> int:
    """Answer one request on this socket: JSON in, JSON out, end of stream.

    The request has `path`, and the limits `pixels`, `memory` (bytes) and `seconds`. The answer has
    `width`, `height` and `thumbnail` (base64 of a JPEG), or `too_large` (a sentence), or is empty
    for a file that cannot be decoded.
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
    """Limit this process. `memory` comes on top of the pages inherited from the fork server.

    RLIMIT_AS is unsuitable: the allocator reserves more addresses than it uses.
    """
    Path("/proc/self/oom_score_adj").write_text("1000")
    has = int(Path("/proc/self/statm").read_text().split()[5]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_DATA, (has + memory, has + memory))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_REAL, seconds)


def _picture(path: Path, pixels: int) -> dict[str, int | str]:
    Image.MAX_IMAGE_PIXELS = None  # the check below is stricter, with our own sentence
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
