"""Rings for the tests: started on demand, ended with the module, migrated once a run."""

import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Protocol

import imageio_ffmpeg
import pytest

from deploy.servers import databases
from deploy.servers.children import Child, Orders
from deploy.servers.factory import PostgresServer
from tests.infrastructure import TEMPLATE, NewBroker, NewDatabase, databases_from
from tests.system.ring import RINGS, Ring
from tests.system.zygote import Zygote, may_fork

_MIGRATED = f"{TEMPLATE}_migrated"


StartProcess = Callable[[Orders], Child]


class NewRing(Protocol):
    """Makes and starts a ring; every argument of Ring may be given, and `start=False`."""

    async def __call__(self, *, start: bool = True, **arguments: Any) -> Ring: ...


@pytest.fixture(scope="session")
def start_process() -> Iterator[StartProcess]:
    """Starts a service's process: forked where that makes no difference, else from scratch."""
    zygote = Zygote()

    def start(orders: Orders) -> Child:
        return zygote.start(orders) if may_fork(orders) else Child.start(orders)

    yield start
    zygote.close()


@pytest.fixture(scope="session")
async def migrated_template(
    postgres: PostgresServer, tmp_path_factory: pytest.TempPathFactory, start_process: StartProcess
) -> str:
    """The name of a database on which both services' migrations have run."""
    copy = await databases.clone(postgres.url, TEMPLATE, _MIGRATED)
    directory = tmp_path_factory.mktemp("migrations")
    await Ring(
        directory=directory,
        databases=copy,
        broker="amqp://127.0.0.1:1/",
        start_process=start_process,
    ).migrate()
    return _MIGRATED


@pytest.fixture(scope="module")
async def new_migrated_database(
    postgres: PostgresServer, migrated_template: str
) -> AsyncIterator[NewDatabase]:
    """Call it for a fresh database with both services' tables."""
    async with databases_from(postgres, migrated_template) as new:
        yield new


@pytest.fixture(scope="module")
async def new_ring(
    new_migrated_database: NewDatabase,
    new_broker: NewBroker,
    start_process: StartProcess,
    pytestconfig: pytest.Config,
) -> AsyncIterator[NewRing]:
    """Call it for a started ring with a database, a vhost and a data directory of its own."""
    rings = pytestconfig.stash.setdefault(RINGS, [])
    async with AsyncExitStack() as stack:

        async def new(*, start: bool = True, **arguments: Any) -> Ring:
            directory = Path(tempfile.mkdtemp(prefix="wa-test-ring-"))
            stack.callback(shutil.rmtree, directory, ignore_errors=True)
            made: dict[str, Any] = {
                "directory": directory,
                "migrated": True,
                "start_process": start_process,
                **arguments,
            }
            if "databases" not in made:
                made["databases"] = await new_migrated_database()
            if "broker" not in made:
                made["broker"] = await new_broker()
            ring = Ring(**made)
            rings.append(ring)
            stack.callback(rings.remove, ring)
            stack.push_async_callback(ring.stop)
            if start:
                await ring.start()
            return ring

        yield new


@pytest.fixture(scope="module")
async def ring(new_ring: NewRing) -> Ring:
    """One ring with the simulated engine for the module."""
    return await new_ring()


@pytest.fixture(scope="session")
def video(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """One second of a real video."""
    path = tmp_path_factory.mktemp("video") / "clip.mp4"
    subprocess.run(
        [
            *(imageio_ffmpeg.get_ffmpeg_exe(), "-loglevel", "error", "-f", "lavfi"),
            *("-i", "color=c=blue:s=64x48:d=1", "-pix_fmt", "yuv420p", str(path)),
        ],
        check=True,
    )
    return path.read_bytes()
