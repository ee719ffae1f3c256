"""Which TCP ports of 127.0.0.1 are free, and whether something answers on one."""

import asyncio
import errno
import socket
import time


def is_free(port: int, host: str = "127.0.0.1") -> bool:
    """Whether a server could listen on that port now."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
            probe.listen(1)
        except OSError as error:
            # A machine without IPv6 has no address that could be busy.
            return error.errno in {errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT}
    return True


_given: set[int] = set()


def free_port(preferred: int | None = None) -> int:
    """The preferred port if it is free, else one that is; never the same twice in a process."""
    if preferred is not None and preferred not in _given and is_free(preferred):
        _given.add(preferred)
        return preferred
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = int(probe.getsockname()[1])
        if port not in _given:
            _given.add(port)
            return port


async def speaks_amqp(port: int, within: float) -> bool:
    """Whether a broker answers the AMQP 0-9-1 greeting with its Connection.Start in that time."""
    deadline = time.monotonic() + within
    while True:
        left = deadline - time.monotonic()
        if left <= 0:
            return False
        try:
            async with asyncio.timeout(min(left, 2)):
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                try:
                    writer.write(b"AMQP\x00\x00\x09\x01")
                    return (await reader.readexactly(1)) == b"\x01"
                finally:
                    writer.close()
        except (OSError, asyncio.IncompleteReadError):
            # TimeoutError is an OSError: neither a refusal nor silence is an answer.
            await asyncio.sleep(0.05)
