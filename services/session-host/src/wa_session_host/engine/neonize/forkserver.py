"""The process that engine workers, and decoders of media, are forked from.

It has imported everything but the Go library, so that workers share those pages (13 MB of their
own before login instead of 40). It has one thread and no event loop; for each order on its control
socket it takes the descriptor that came along, forks what the order names around it, and answers with
the order and the process id, which is nobody else's word. It ends when the control socket ends. Its
environment has SPHINX=1, which keeps neonize from loading the library.
"""

import array
import os
import signal
import socket
import struct
import sys

from wa_session_host.engine.content_type import bring_libmagic

WORKER, DECODER = b"w", b"d"
ORDER, STARTED = struct.Struct("=cQ"), struct.Struct("=i")
"""What the host sends, a kind and a number; and what follows on it in the answer, a process id."""

_HOLDS_LIBRARY = ("neonize",)
_KEEPS = ("neonize.proto",)


def preload() -> None:
    """Import what workers need, except what holds the Go library."""
    import asyncio  # noqa: F401, PLC0415
    import logging  # noqa: PLC0415

    logging.basicConfig(level=logging.ERROR)  # neonize would set INFO
    bring_libmagic()
    import neonize.aioze.client  # noqa: F401, PLC0415

    import wa_session_host.engine.neonize.worker  # noqa: F401, PLC0415
    from wa_session_host.engine.neonize import decoder  # noqa: PLC0415

    decoder.preload()
    for name in list(sys.modules):
        if name.startswith(_HOLDS_LIBRARY) and not name.startswith(_KEEPS):
            del sys.modules[name]


def serve(control: socket.socket) -> None:
    """Fork a process for every descriptor received; return at the end of the stream."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel reaps, for our children too
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the host ends us by closing the socket
    while True:
        message, ancillary, _, _ = control.recvmsg(ORDER.size, socket.CMSG_SPACE(4))
        if not message:
            return
        descriptors = array.array("i")
        for _, _, data in ancillary:
            descriptors.frombytes(data[:4])
        for descriptor in descriptors:
            pid = os.fork()
            if pid == 0:
                control.close()
                _become(message[:1], descriptor)
            os.close(descriptor)
            control.sendall(message + STARTED.pack(pid))


def _become(kind: bytes, descriptor: int) -> None:
    from wa_session_host.engine.neonize import decoder, worker  # noqa: PLC0415 - preloaded

    status = 1
    try:
        os.environ.pop("SPHINX", None)
        work = decoder.main if kind == DECODER else worker.main
        status = work(socket.socket(fileno=descriptor))
    finally:
        os._exit(status)


if __name__ == "__main__":
    preload()
    serve(socket.socket(fileno=int(sys.argv[1])))
