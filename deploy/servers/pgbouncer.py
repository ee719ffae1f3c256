"""A PgBouncer in front of the device store: a few server connections for any number of sessions.

Each session's engine keeps two connections for as long as it runs. The pool is in transaction mode:
the engine's driver works through it with `binary_parameters=yes`, and only so.
"""

import asyncio
import os
import shutil
import signal
import time
from pathlib import Path
from urllib.parse import unquote, urlsplit

import asyncpg

from deploy.servers import debian, postgres
from deploy.servers.children import Child, ChildDied, Orders
from deploy.servers.ports import free_port

SERVER_CONNECTIONS = 20
CLIENT_CONNECTIONS = 4000
"""Two per session, and as many descriptors."""
_CONFIGURATION = """\
[databases]
* = host={host} port={server_port}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = scram-sha-256
auth_file = {users}
pool_mode = transaction
default_pool_size = {server_connections}
max_client_conn = {clients}
ignore_startup_parameters = extra_float_digits
"""
_PACKAGE = "pgbouncer"


class PoolUnavailable(RuntimeError):
    """PgBouncer cannot run here. The message says what to do."""


class EmbeddedPgBouncer:
    """A PgBouncer on 127.0.0.1 for the database and the role of one Postgres URL."""

    def __init__(self, directory: Path, upstream: str, *, port: int | None = None) -> None:
        self.directory = directory
        self.port = port or free_port()
        self._upstream = urlsplit(upstream)
        self._child: Child | None = None

    @property
    def url(self) -> str:
        """The upstream's URL through the pool, in the form that the engine needs."""
        credentials = self._upstream.netloc.rpartition("@")[0]
        return self._upstream._replace(
            netloc=f"{credentials}@127.0.0.1:{self.port}",
            query="sslmode=disable&binary_parameters=yes",
        ).geturl()

    @property
    def pids(self) -> tuple[int, ...]:
        return (self._child.pid,) if self._child is not None and self.running else ()

    @property
    def running(self) -> bool:
        return self._child is not None and self._child.alive

    async def start(self, within: float = 30) -> None:
        """Start, and return once a query is answered.

        Installs PgBouncer first if missing. Raises PoolUnavailable or ChildDied.
        """
        program = await asyncio.to_thread(find_or_install)
        self._configure()
        self._child = Child.start(
            Orders(
                name="PgBouncer",
                argv=[*postgres.not_as_root(), str(program), str(self._file("pgbouncer.ini"))],
                env={"PATH": os.environ.get("PATH", "/usr/bin:/bin"), **_libraries_of(program)},
                log=self._file("pgbouncer.log"),
                on_stop=signal.SIGTERM,
                on_orphaned=signal.SIGTERM,
            )
        )
        deadline = time.monotonic() + within
        while not await self._answers():
            if not self.running:
                raise self._child.died()
            if time.monotonic() > deadline:
                await self.stop()
                raise ChildDied(f"PgBouncer did not answer within {within:.0f} s.")
            await asyncio.sleep(0.03)

    async def stop(self) -> None:
        if self._child is not None:
            await self._child.stop(within=5)
            self._child = None

    async def _answers(self) -> bool:
        try:
            connection = await asyncpg.connect(self.url.partition("?")[0], timeout=5)
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
            return False
        await connection.close()
        return True

    def _configure(self) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)
        users = self._file("users.txt")
        users.touch(mode=0o600)
        name, password = (
            unquote(part or "") for part in (self._upstream.username, self._upstream.password)
        )
        users.write_text(f'"{name}" "{password}"\n')
        self._file("pgbouncer.ini").write_text(
            _CONFIGURATION.format(
                host=self._upstream.hostname,
                server_port=self._upstream.port or 5432,
                port=self.port,
                users=users.absolute(),
                server_connections=SERVER_CONNECTIONS,
                clients=CLIENT_CONNECTIONS,
            )
        )

    def _file(self, name: str) -> Path:
        return self.directory / name


def find() -> Path | None:
    """The program on this machine, or None."""
    on_path = shutil.which(_PACKAGE, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    unpacked = _cache() / "usr/sbin" / _PACKAGE
    return Path(on_path) if on_path else unpacked if unpacked.exists() else None


def _libraries_of(program: Path) -> dict[str, str]:
    """Where an unpacked program finds the libraries that were unpacked beside it."""
    if not program.is_relative_to(_cache()):
        return {}
    folders = {str(library.parent) for library in _cache().glob("**/lib*.so.*")}
    return {"LD_LIBRARY_PATH": os.pathsep.join(sorted(folders))}


def find_or_install() -> Path:
    """Find or install PgBouncer; safe for several processes at once. Raises PoolUnavailable."""
    if find() is None and not debian.has_apt():
        raise PoolUnavailable("There is no PgBouncer here: install it (`brew install pgbouncer`).")
    if (found := debian.find_or_fetch(find, _fetch, _cache())) is None:
        raise PoolUnavailable("PgBouncer was installed, but is not where it was expected.")
    return found


def _fetch() -> None:
    try:
        if debian.is_root():
            debian.install(_PACKAGE)
        else:
            debian.unpack(_PACKAGE, _cache())
    except debian.PackageUnavailable as error:
        raise PoolUnavailable(
            f"PgBouncer could not be had from Debian's packages ({error}): install it yourself."
        ) from error


def _cache() -> Path:
    return debian.cache(_PACKAGE)
