"""The fork server: forks engine workers and media decoders.

It has imported everything but the Go library, so that workers share those pages. It has one thread
and no event loop. Each order on its control socket carries a descriptor; the server forks the
ordered kind of process around the descriptor and answers with the order and the pid. The pid comes
from the fork server, not from the (untrusted) worker. The server ends with its control socket.
SPHINX=1 in its environment keeps neonize from loading the library.
"""

import array
import gc
import importlib
import os
import signal
import socket
import struct
import sys
from collections.abc import Callable

from wa_session_host.engine.content_type import bring_libmagic
from wa_session_host.engine.neonize import client_version
from wa_session_host.engine.neonize.worker_memory import WorkerMemory

WORKER, DECODER, UPGRADE = b"w", b"d", b"u"
ORDER, STARTED = struct.Struct("=cQ"), struct.Struct("=i")
"""An order is a kind and a number. The answer repeats the order and appends a pid."""


def preload(library: str) -> None:
    """Import the modules of all children; only `library.load` is left to a worker.

    It loads the Go library at `library`. What is imported is frozen: a collection in a child would
    write to all of it, and so copy it.
    """
    import asyncio  # noqa: F401, PLC0415
    import logging  # noqa: PLC0415

    logging.basicConfig(level=logging.ERROR)  # neonize would set INFO
    bring_libmagic()
    import wa_session_host.engine.neonize.library  # noqa: PLC0415
    import wa_session_host.engine.neonize.store_upgrade  # noqa: PLC0415
    import wa_session_host.engine.neonize.whatsapp  # noqa: PLC0415
    import wa_session_host.engine.neonize.worker  # noqa: F401, PLC0415
    from wa_session_host.decoding import process  # noqa: PLC0415

    client_version.load_from(library)
    process.preload()
    _end_threads()
    gc.collect()
    gc.freeze()


def _end_threads() -> None:
    """End the thread that neonize's log starts. A child has no threads of its parent."""
    log = importlib.import_module("neonize.utils.log")
    log._log_queue.put(None)  # noqa: SLF001 - neonize is pinned; its own way puts a wrong end
    log._thread.join()  # noqa: SLF001


def serve(control: socket.socket, memory: WorkerMemory) -> None:
    """Fork a process for every received descriptor, until the end of the stream.

    `memory` is for workers; a decoder has limits of its own.
    """
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
                if message[:1] == WORKER:
                    memory.apply()
                _become(message[:1], descriptor)
            os.close(descriptor)
            control.sendall(message + STARTED.pack(pid))


def _become(kind: bytes, descriptor: int) -> None:
    from wa_session_host.decoding import process  # noqa: PLC0415 - preloaded
    from wa_session_host.engine.neonize import store_upgrade, worker  # noqa: PLC0415

    work: dict[bytes, Callable[[socket.socket], int]] = {
        WORKER: worker.main,
        DECODER: process.main,
        UPGRADE: store_upgrade.main,
    }
    status = 1
    try:
        os.environ.pop("SPHINX", None)
        status = work[kind](socket.socket(fileno=descriptor))
    finally:
        os._exit(status)


if __name__ == "__main__":
    preload(sys.argv[2])
    serve(socket.socket(fileno=int(sys.argv[1])), WorkerMemory.from_arguments(sys.argv[3:]))
