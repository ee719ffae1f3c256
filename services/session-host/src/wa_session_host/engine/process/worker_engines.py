"""Starts engine workers: the client of the fork server."""

import asyncio
import os
import socket
import sys
import time
from collections.abc import Mapping
from itertools import count
from pathlib import Path

import structlog

from wa_contracts.ids import SessionId
from wa_session_host.domain.observations import ClientVersion, LinkedDevice
from wa_session_host.engine.neonize.client_version import engine_version, shipped_library
from wa_session_host.engine.neonize.forkserver import (
    DECODER,
    ORDER,
    STARTED,
    UPGRADE,
    WORKER,
)
from wa_session_host.engine.neonize.worker_memory import WorkerMemory
from wa_session_host.engine.port import NO_OPTIONS, EngineOptions
from wa_session_host.engine.process.device_store import DeviceStore
from wa_session_host.engine.process.worker_engine import WorkerEngine
from wa_session_host.engine.protocol import Begin

log = structlog.get_logger()

FORK_SECONDS = 30


_INHERITED = {
    *("PATH", "HOME", "LANG", "LANGUAGE", "TZ", "TMPDIR", "LD_LIBRARY_PATH", "VIRTUAL_ENV"),
    *("SSL_CERT_FILE", "SSL_CERT_DIR", "GODEBUG", "GOMEMLIMIT", "MALLOC_ARENA_MAX"),
    *("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy"),
}
_INHERITED_PREFIXES = ("PYTHON", "LC_")
_SMALL_GO = {"GOGC": "50", "GOMAXPROCS": "1"}
"""A worker sends a few messages a minute: less heap and fewer threads cost it nothing measurable."""


def worker_environment(host: Mapping[str, str]) -> dict[str, str]:
    """The environment of the fork server and of all workers, of the host's.

    It has no setting of the host: a worker parses hostile input beside it. SPHINX keeps the Go
    library out of the server. The bot tag would mark every message as coming from an AI; Go reads
    the environment of the exec.
    """
    inherited = {
        name: value
        for name, value in host.items()
        if name in _INHERITED or name.startswith(_INHERITED_PREFIXES)
    }
    small = {name: host.get(name, value) for name, value in _SMALL_GO.items()}
    return {**inherited, **small, "SPHINX": "1", "NEONIZE_BOT_TAG": "off"}


class ForkRate:
    """Spreads forks evenly: protects machine and WhatsApp when a host takes over many sessions."""

    def __init__(self, per_second: float) -> None:
        self._step = 1 / per_second
        self._next_at = 0.0

    async def wait_turn(self) -> None:
        """Wait for the next fork's time; no wait after a pause."""
        now = time.monotonic()
        at = max(self._next_at, now)
        self._next_at = at + self._step
        await asyncio.sleep(at - now)


class WorkerEngines:
    """Starts workers by a fork server and extends their deadlines."""

    def __init__(
        self,
        device_store: str,
        *,
        starts_per_second: float,
        memory: WorkerMemory = WorkerMemory(),  # noqa: B008 - frozen
    ) -> None:
        """`device_store` is a Postgres URL, or `sqlite://` and a folder (one file per session)."""
        self._memory = memory
        self._store = DeviceStore(device_store)
        self._fork_rate = ForkRate(starts_per_second)
        self._control: socket.socket | None = None
        self._server: asyncio.subprocess.Process | None = None
        self._starting = asyncio.Lock()
        self._orders = count()
        self._engines: set[WorkerEngine] = set()
        self._deadline = 0.0
        self._library = shipped_library()
        self._version = engine_version(self._library)

    @property
    def version(self) -> ClientVersion:
        return self._version

    async def use(self, library: Path | None) -> None:
        """See `Engines.use`. Another library needs another fork server; running engines stay."""
        library = library or shipped_library()
        version = await asyncio.to_thread(engine_version, library)
        async with self._starting:
            if library == self._library:
                return
            self._library, self._version = library, version
            log.info("client_version_used", engine=version.engine, version=version.client)
            if self._server is not None:
                await self._start_server()

    async def prepare(self) -> None:
        """Start the fork server ahead of the first session; have it upgrade the device store."""
        async with self._starting:
            if self._server is None:
                await self._start_server()
        await self._store.upgrade(self._open_store)
        await self._store.warn_of_connections()

    async def start(
        self,
        session_id: SessionId,
        link: LinkedDevice | None,
        options: EngineOptions = NO_OPTIONS,
    ) -> WorkerEngine:
        await self._fork_rate.wait_turn()
        stored = link is None or await self._store.has(session_id, link)
        ours, theirs = socket.socketpair()
        try:
            pid = await self._fork(WORKER, theirs)
            reader, writer = await asyncio.open_connection(sock=ours)
        except BaseException:
            ours.close()  # a worker that was forked after all sees the end and exits
            raise
        finally:
            theirs.close()
        store = self._store.url_of(session_id)
        begin = Begin(str(session_id), store, link, self._deadline, self._version, stored, options)
        engine = WorkerEngine(begin, reader, writer, pid)
        self._engines = {e for e in self._engines if not e.ended} | {engine}
        return engine

    async def start_decoder(self, end: socket.socket) -> int | None:
        """Fork a media decoder around its end of a socket pair; None on failure."""
        return await self._fork(DECODER, end)

    @property
    def worker_pids(self) -> list[int]:
        return [e.pid for e in self._engines if e.pid is not None and not e.ended]

    def extend(self, deadline: float) -> None:
        self._deadline = deadline
        for engine in self._engines:
            engine.extend(deadline)

    async def close(self) -> None:
        """End the fork server. Sessions stop their engines."""
        if self._control is not None:
            self._control.close()
        if self._server is not None:
            await self._server.wait()
        await self._store.close()

    async def _open_store(self, url: str) -> None:
        """Let a process of its own open the device store; returns at its end."""
        ours, theirs = socket.socketpair()
        with theirs:
            await self._fork(UPGRADE, theirs)
        reader, writer = await asyncio.open_connection(sock=ours)
        writer.write(url.encode())
        writer.write_eof()
        await reader.read()
        writer.close()

    async def _fork(self, kind: bytes, worker_end: socket.socket) -> int | None:
        """Fork a process of `kind` around one end of a socket pair.

        Returns its process id, or None on failure.
        """
        async with self._starting:
            if self._control is None or self._server is None or self._server.returncode is not None:
                await self._start_server()
            assert self._control is not None
            order = ORDER.pack(kind, next(self._orders))
            try:
                socket.send_fds(self._control, [order], [worker_end.fileno()])
                async with asyncio.timeout(FORK_SECONDS):
                    return await self._forked_pid(self._control, order)
            except OSError as error:  # includes TimeoutError, and a fork server that has just ended
                log.warning("process_not_forked", reason=type(error).__name__)
        return None

    async def _forked_pid(self, control: socket.socket, order: bytes) -> int | None:
        """The pid forked for an order; None at the end of the stream."""
        loop = asyncio.get_running_loop()
        while answer := await loop.sock_recv(control, ORDER.size + STARTED.size):
            # answers to earlier, abandoned orders are skipped
            if answer.startswith(order):
                pid: int = STARTED.unpack(answer[ORDER.size :])[0]
                return pid
        return None

    async def _start_server(self) -> None:
        if self._control is not None and self._server is not None:
            self._control.close()
            await self._server.wait()
        self._control, theirs = socket.socketpair()
        self._control.setblocking(False)
        self._server = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "wa_session_host.engine.neonize.forkserver",
            str(theirs.fileno()),
            str(self._library.absolute()),
            *self._memory.arguments(),
            pass_fds=[theirs.fileno()],
            env=worker_environment(os.environ),
        )
        theirs.close()
        log.info("fork_server_started", pid=self._server.pid)
