"""Child processes that cannot outlive this process.

A child is a session leader, so Ctrl-C reaches this process only, which controls the order of
shutdown. On Linux the kernel sends a child its `on_orphaned` signal when this process ends for any
reason (PR_SET_PDEATHSIG). Elsewhere the next start finds orphans by the pid file.
"""

import asyncio
import contextlib
import ctypes
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Protocol

import psutil

PR_SET_PDEATHSIG = 1
_POLL_SECONDS = 0.02
_libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


class ChildDied(RuntimeError):
    """A required child ended. The message has its exit code and the end of its log."""


@dataclass(frozen=True)
class Orders:
    """A command to start, and the signals that end it."""

    name: str
    argv: Sequence[str]
    env: Mapping[str, str]
    log: Path | None
    cwd: Path | None = None
    on_stop: signal.Signals = signal.SIGTERM
    on_orphaned: signal.Signals = signal.SIGTERM


class Process(Protocol):
    """What a child needs of `subprocess.Popen`; tests bring processes that they forked."""

    pid: int
    stdout: IO[bytes] | None

    def poll(self) -> int | None: ...
    def send_signal(self, sig: int, /) -> None: ...
    def kill(self) -> None: ...


class Child:
    """A running child with its descendants."""

    def __init__(self, orders: Orders, process: Process) -> None:
        self.orders = orders
        self.name = orders.name
        self.pid = process.pid
        self._process = process
        self.started_at = time.monotonic()

    @classmethod
    def start(cls, orders: Orders) -> "Child":
        """Start a child. Its output is appended to `orders.log`, or goes to a pipe without one.

        Call on the main thread: the death signal is bound to the thread that forks.
        """
        parent = os.getpid()

        def before_exec() -> None:
            if _libc is not None:
                _libc.prctl(PR_SET_PDEATHSIG, int(orders.on_orphaned), 0, 0, 0)
                if os.getppid() != parent:
                    os._exit(1)

        with contextlib.ExitStack() as stack:
            output: int | IO[bytes] = subprocess.PIPE
            if orders.log is not None:
                orders.log.parent.mkdir(parents=True, exist_ok=True)
                output = stack.enter_context(orders.log.open("ab"))
            process = subprocess.Popen(
                list(orders.argv),
                env=dict(orders.env),
                cwd=orders.cwd,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=before_exec,  # noqa: PLW1509 — nothing but prctl happens there
            )
        return cls(orders, process)

    @property
    def output(self) -> IO[bytes]:
        """The pipe with the child's output. Only for a child without a log file."""
        if self._process.stdout is None:
            raise RuntimeError(f"{self.name} writes to {self.orders.log}")
        return self._process.stdout

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    @property
    def exit_code(self) -> int | None:
        return self._process.poll()

    def signal(self, number: signal.Signals) -> None:
        """Send a signal. Does nothing if the child has ended."""
        self._process.send_signal(number)

    def family(self) -> list[psutil.Process]:
        """All running descendants.

        Descendants whose parents have ended are found by the child's session id.
        """
        found: set[psutil.Process] = set()
        with contextlib.suppress(psutil.NoSuchProcess):
            found.update(psutil.Process(self.pid).children(recursive=True))
        for process in psutil.process_iter():
            with contextlib.suppress(ProcessLookupError, PermissionError):
                if process.pid != self.pid and os.getsid(process.pid) == self.pid:
                    found.add(process)
        return list(found)

    async def wait(self) -> int:
        while (code := self._process.poll()) is None:  # noqa: ASYNC110 — no event tells it
            await asyncio.sleep(_POLL_SECONDS)
        return code

    async def stop(self, within: float) -> bool:
        """Stop the child with its signal, after `within` seconds with SIGKILL. False if killed.

        Also kills remaining descendants.
        """
        family = self.family()
        if self.alive:
            self.signal(self.orders.on_stop)
        in_order = True
        try:
            async with asyncio.timeout(within):
                await self.wait()
        except TimeoutError:
            in_order = False
        except asyncio.CancelledError:
            self._force(family)
            raise
        self._force(family)
        await self.wait()
        return in_order

    async def kill(self) -> None:
        """SIGKILL the child and its descendants."""
        self._force(self.family())
        await self.wait()

    def _force(self, family: Sequence[psutil.Process]) -> None:
        # The child first, so that it cannot restart the others.
        if self.alive:
            self._process.kill()
        for process in {*family, *self.family()}:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()

    def last_words(self, lines: int = 15) -> str:
        """The end of the log, for an error message."""
        if self.orders.log is None or not self.orders.log.exists():
            return ""
        text = self.orders.log.read_bytes()[-8192:].decode(errors="replace")
        return "\n".join(text.splitlines()[-lines:])

    def died(self) -> ChildDied:
        """The error for a child that ended too early."""
        return ChildDied(f"{self.name} ended with {self.exit_code}.\n{self.last_words()}".strip())


class ProcessRecord:
    """The processes started for a data directory, so that a later start can end leftovers.

    A process is identified by pid and start time, so a reused pid is never touched.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._entries: dict[str, float] = {}

    def add(self, pid: int) -> None:
        with contextlib.suppress(psutil.NoSuchProcess):
            self._entries[str(pid)] = psutil.Process(pid).create_time()
            self._write()

    def clear(self) -> None:
        self._entries = {}
        self._path.unlink(missing_ok=True)

    def end_leftovers(self, within: float = 10) -> int:
        """End the processes of an earlier run with their descendants; return their number."""
        try:
            recorded = json.loads(self._path.read_text())
        except (FileNotFoundError, ValueError):
            return 0
        leftovers: list[psutil.Process] = []
        for pid, created in recorded.items():
            with contextlib.suppress(psutil.NoSuchProcess):
                process = psutil.Process(int(pid))
                ended = process.status() == psutil.STATUS_ZOMBIE
                if not ended and abs(process.create_time() - created) < 1:
                    leftovers += [process, *process.children(recursive=True)]
        for process in leftovers:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.terminate()
        _, alive = psutil.wait_procs(leftovers, timeout=within)
        for process in alive:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(alive, timeout=5)
        self._path.unlink(missing_ok=True)
        return len(leftovers)

    def _write(self) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        draft = self._path.with_suffix(".new")
        draft.write_text(json.dumps(self._entries))
        draft.replace(self._path)
