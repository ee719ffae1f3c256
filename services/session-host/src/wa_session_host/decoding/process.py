"""Decodes one media file in a process of its own.

The process isolates decoders from crafted files. It limits its own memory, time and output, is the
kernel's first victim when memory runs out, and shares nothing with the host or a session's engine.
The fork server forks it; without one it is `python -m wa_session_host.decoding.process <fd>`.
"""

import os
import resource
import signal
import socket
import sys
from dataclasses import asdict
from pathlib import Path

from pydantic_core import from_json, to_json

from wa_session_host.decoding import pictures
from wa_session_host.decoding.outcome import Converted, Refused

REQUEST_BYTES = 64 * 1024


def preload() -> None:
    """Import the formats of pictures once, for all decoders."""
    pictures.preload()


def main(connection: socket.socket) -> int:
    """Answer one request on this socket: JSON in, JSON out, end of stream.

    The request has `kind` (a message type), `path`, `output` (where a converted file goes), and
    the limits `pixels`, `memory`, `output_bytes` (bytes) and `seconds`. The answer has the fields
    of `Converted` or `Refused`.
    """
    request = from_json(connection.recv(REQUEST_BYTES))
    _limit(request["memory"], request["output_bytes"], request["seconds"])
    path, output = Path(request["path"]), Path(request["output"])
    try:
        answer = _converted(request["kind"], path, output, request["pixels"])
    except Refused as refusal:
        connection.sendall(to_json({"code": refusal.code, "message": str(refusal)}))
    except MemoryError:
        os._exit(1)
    else:
        connection.sendall(to_json(asdict(answer)))
    return 0


def _converted(kind: str, path: Path, output: Path, pixels: int) -> Converted:
    """What goes out as a message of this type. Raises Refused."""
    match kind:
        case "image":
            return pictures.image(path, output, pixels)
        case "sticker":
            return pictures.sticker(path, output, pixels)
    from wa_session_host.decoding import sounds, videos  # noqa: PLC0415 - they load FFmpeg

    match kind:
        case "video":
            return videos.video(path, output, pixels)
        case "voice":
            return sounds.voice(path, output)
        case _:
            return sounds.audio(path, output)


def _limit(memory: int, output: int, seconds: float) -> None:
    """Limit this process. `memory` comes on top of the pages inherited from the fork server.

    RLIMIT_AS is unsuitable: the allocator reserves more addresses than it uses.
    """
    Path("/proc/self/oom_score_adj").write_text("1000")
    has = int(Path("/proc/self/statm").read_text().split()[5]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_DATA, (has + memory, has + memory))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (output, output))
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # the write fails instead
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_REAL, seconds)


if __name__ == "__main__":
    preload()
    sys.exit(main(socket.socket(fileno=int(sys.argv[1]))))
