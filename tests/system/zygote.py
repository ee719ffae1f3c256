"""A process that has imported both services once and forks them on request.

Importing a service takes one to two seconds of a core, forking it some milliseconds. The test
process runs this module with one end of a socket pair and sends one JSON order per process; the
answers say which process was started and how each one ended. The fork calls the same `main` with
the same arguments as `python -m`. `may_fork` names what must be started from scratch.
"""

import ctypes
import faulthandler
import gc
import importlib
import importlib.util
import io
import json
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from importlib.machinery import PathFinder
from pathlib import Path
from typing import IO, Any

import uuid_utils

from deploy.local.services import python_module
from deploy.servers.children import PR_SET_PDEATHSIG, Child, Orders

PRELOADED = (
    "wa_session_host.main",
    "wa_api.main",
    "wa_api.processes.serve",
    "wa_api.processes.project",
    "wa_api.processes.deliver",
    "wa_api.processes.rebuild",
    "aio_pika.robust_connection",
    "uvicorn.lifespan.on",
    "uvicorn.loops.uvloop",
    "uvicorn.protocols.http.httptools_impl",
)
MAINS = {"wa_session_host": "wa_session_host.main", "wa_api": "wa_api.main"}
READ_AT_IMPORT = ("OTEL_", "FAULT_POINT_FILE")
"""How settings begin that a module reads while it is imported."""

ENGINE_DIRECTORY = Path(__file__).parents[1] / "whatsapp" / "engine"
"""With the stand-in's sitecustomize. `tests.whatsapp` itself would load the engine in here."""

LARGEST_MESSAGE = 1 << 17
STARTING_SECONDS = 60


class Forked:
    """A forked process, with the part of Popen's interface that Child needs."""

    stdout: IO[bytes] | None = None

    def __init__(self, pid: int, zygote: "Zygote") -> None:
        self.pid = pid
        self._zygote = zygote

    def poll(self) -> int | None:
        """The exit code, negative for a signal; None while the process runs."""
        return self._zygote.exit_code_of(self.pid)

    def send_signal(self, number: int) -> None:
        """Send a signal to a process that has not ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """SIGKILL."""
        self.send_signal(signal.SIGKILL)


class Zygote:
    """The test process's side: starts the parent and asks it for processes."""

    def __init__(self) -> None:
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._control.settimeout(STARTING_SECONDS)
        self._ended: dict[int, int] = {}
        with theirs:
            self._process = subprocess.Popen(
                [*python_module("tests.system.zygote"), str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                cwd=Path(__file__).parents[2],
                env={"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "LANG": "C.UTF-8"},
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )

    def start(self, orders: Orders) -> Child:
        """Fork the process that the orders describe."""
        assert orders.log is not None
        orders.log.parent.mkdir(parents=True, exist_ok=True)
        self._take_what_came()
        order = {
            "argv": list(orders.argv),
            "env": dict(orders.env),
            "log": str(orders.log),
            "cwd": str(orders.cwd or Path.cwd()),
            "on_orphaned": int(orders.on_orphaned),
        }
        self._control.send(json.dumps(order).encode())
        while True:
            answer = self._received()
            if "started" in answer:
                return Child(orders, Forked(answer["started"], self))

    def exit_code_of(self, pid: int) -> int | None:
        """How a forked process ended; None while it runs."""
        self._take_what_came()
        return self._ended.get(pid)

    def close(self) -> None:
        """End the parent; its children have ended before."""
        self._control.close()
        self._process.wait(timeout=10)

    def _take_what_came(self) -> None:
        while select.select([self._control], [], [], 0)[0]:
            self._received()

    def _received(self) -> dict[str, Any]:
        data = self._control.recv(LARGEST_MESSAGE)
        if not data:
            raise RuntimeError(f"the zygote ended with {self._process.wait()}")
        answer: dict[str, Any] = json.loads(data)
        if "ended" in answer:
            self._ended[answer["ended"]] = answer["code"]
        elif "started" in answer:
            self._ended.pop(answer["started"], None)  # that process id was used before
        return answer


def may_fork(orders: Orders) -> bool:
    """Whether a fork would behave as `python -m` does.

    Not if a module reads one of the settings while it is imported, and not if a `sitecustomize`
    other than the stand-in's must run before all imports.
    """
    if any(name.startswith(READ_AT_IMPORT) for name in orders.env):
        return False
    if orders.env.get("PYTHONPATH", str(ENGINE_DIRECTORY)) != str(ENGINE_DIRECTORY):
        return False
    return list(orders.argv[:2]) == python_module() and orders.argv[2] in MAINS


def _serve(control: socket.socket) -> dict[str, Any] | None:
    """Fork for every order. None at the end of the stream; in a fork, its order."""
    watched: dict[int, int] = {}
    poll = select.poll()
    poll.register(control, select.POLLIN)
    while True:
        for descriptor, _ in poll.poll():
            if descriptor != control.fileno():
                poll.unregister(descriptor)
                os.close(descriptor)
                pid, status = os.waitpid(watched.pop(descriptor), 0)
                _tell(control, ended=pid, code=os.waitstatus_to_exitcode(status))
                continue
            data = control.recv(LARGEST_MESSAGE)
            if not data:
                return None
            parent, pid = os.getpid(), os.fork()
            if pid == 0:
                control.close()
                for other in watched:
                    os.close(other)
                order: dict[str, Any] = json.loads(data)
                _end_with(parent, order["on_orphaned"])
                return order
            watched[watching := os.pidfd_open(pid)] = pid
            poll.register(watching, select.POLLIN)
            _tell(control, started=pid)


def _tell(control: socket.socket, **answer: int) -> None:
    control.send(json.dumps(answer).encode())


def _end_with(parent: int, number: int) -> None:
    """Get that signal when the parent ends."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, number, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)


def _become(order: Mapping[str, Any], by_imports: Mapping[str, str]) -> Sequence[str]:
    """Set up what an exec would have set up; the arguments of `python -m`.

    `by_imports` are variables that modules set while they were imported.
    """
    os.setsid()
    os.chdir(order["cwd"])
    os.environ.clear()
    os.environ.update({**by_imports, **order["env"]})
    nothing = os.open(os.devnull, os.O_RDONLY)
    log = os.open(order["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    for descriptor, number in ((nothing, 0), (log, 1), (log, 2)):
        os.dup2(descriptor, number)
    os.close(nothing)
    os.close(log)
    sys.stdout, sys.stderr = (_unbuffered(number) for number in (1, 2))
    faulthandler.enable()
    uuid_utils.reseed_rng()
    arguments: list[str] = order["argv"][2:]
    sys.argv = [f"python -m {arguments[0]}", *arguments[1:]]
    if path := order["env"].get("PYTHONPATH"):
        sys.path[1:1] = path.split(os.pathsep)
        found = PathFinder.find_spec("sitecustomize", path.split(os.pathsep))
        assert found is not None
        assert found.loader is not None
        found.loader.exec_module(importlib.util.module_from_spec(found))
    return arguments


def _unbuffered(number: int) -> io.TextIOWrapper:
    raw = io.FileIO(number, "w", closefd=False)
    return io.TextIOWrapper(raw, "utf-8", "backslashreplace", write_through=True)


def _run() -> int:
    _end_with(os.getppid(), signal.SIGKILL)
    given = dict(os.environ)
    for name in PRELOADED:
        importlib.import_module(name)
    by_imports = {name: value for name, value in os.environ.items() if given.get(name) != value}
    assert len(list(Path("/proc/self/task").iterdir())) == 1, "only one thread survives a fork"
    gc.collect()
    gc.freeze()
    order = _serve(socket.socket(fileno=int(sys.argv[1])))
    if order is None:
        return 0
    package, *arguments = _become(order, by_imports)
    status: int = importlib.import_module(MAINS[package]).main(arguments)
    return status


if __name__ == "__main__":
    sys.exit(_run())
