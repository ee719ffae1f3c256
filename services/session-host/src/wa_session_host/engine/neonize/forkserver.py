"""The fork server: forks engine workers and media decoders.

It has imported everything but the Go library, so that workers share those pages (13 MB of their
own before login instead of 40). It has one thread and no event loop. Each order on its control
socket carries a descriptor; the server forks the ordered kind of process around the descriptor and
answers with the order and the pid. The pid comes from the fork server, not from the (untrusted)
worker. The server ends with its control socket. SPHINX=1 in its environment keeps neonize from
loading the library.
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
"""An order is a kind and a number. The answer repeats the order and appends a pid."""

_HOLDS_LIBRARY = ("neonize",)
_KEEPS = ("neonize.proto",)


def preload() -> None:
    """Import the modules of workers, except those that hold the Go library."""
    import asyncio  # noqa: F401, PLC0415
    import logging  # noqa: PLC0415

    logging.basicConfig(level=logging.ERROR)  # neonize would set INFO
    bring_libmagic()
    import neonize.aioze.client  # noqa: F401, PLC0415

    import wa_session_host.engine.neonize.worker  # noqa: F401, PLC0415
    from wa_session_host.decoding import process  # noqa: PLC0415

    process.preload()
    for name in list(sys.modules):
        if name.startswith(_HOLDS_LIBRARY) and not name.startswith(_KEEPS):
            del sys.modules[name]


def serve(control: socket.socket) -> None:
    """Fork a process for every received descriptor, until the end of the stream."""
    signal.signal(
        signal.SIGCHLD, signal.SIG_IGN
    )  # the kernel reaps the children, and their children
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the host ends this process by closing the socket
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
    from wa_session_host.decoding import process  # noqa: PLC0415 - preloaded
    from wa_session_host.engine.neonize import worker  # noqa: PLC0415 - preloaded

    status = 1
    try:
        os.environ.pop("SPHINX", None)
        work = process.main if kind == DECODER else worker.main
        status = work(socket.socket(fileno=descriptor))
    finally:
        os._exit(status)


if __name__ == "__main__":
    preload()
    serve(socket.socket(fileno=int(sys.argv[1])))
