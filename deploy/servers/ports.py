"""Finds free TCP ports on 127.0.0.1, and checks for a broker."""

import asyncio
import errno
import socket
import time


def is_free(port: int, host: str = "127.0.0.1") -> bool:
    """True if a server could listen on the port now."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
            probe.listen(1)
        except OSError as error:
            # Without IPv6, the address cannot be in use.
            return error.errno in {errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT}
    return True


_given: set[int] = set()


def free_port(preferred: int | None = None) -> int:
    """The preferred port if free, else a random free one. Never repeats within a process."""
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
    """True if a broker answers the AMQP 0-9-1 header with Connection.Start in time."""
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
            # Includes TimeoutError: neither a refusal nor silence is an answer.
            await asyncio.sleep(0.05)
