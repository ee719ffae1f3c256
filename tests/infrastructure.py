"""Real Postgres and RabbitMQ for the tests: one of each a run, cheap isolation a module.

A container engine is used if one answers, else the servers of `deploy.local`. Whatever happens to
pytest, the servers end with it: they are its children (see deploy/servers/children.py).
"""

import contextlib
import itertools
import shutil
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from deploy.servers import databases, factory
from deploy.servers.databases import Databases
from deploy.servers.factory import PostgresServer, RabbitMQServer

TEMPLATE = "wa_template"
_numbers = itertools.count(1)

NewDatabase = Callable[[], Awaitable[Databases]]
NewBroker = Callable[[], Awaitable[str]]
OwnPostgres = Callable[[], Awaitable[PostgresServer]]
OwnRabbitMQ = Callable[[], Awaitable[RabbitMQServer]]


MEMORY = Path("/dev/shm")
ROOM_IN_MEMORY = 8 * 1024**3
"""Bytes that several brokers use at most; with less room their files are on the disk."""


def _in_memory() -> Path | None:
    """Where a server's writes wait for no disk; it survives a kill of the server all the same."""
    is_large = MEMORY.is_dir() and shutil.disk_usage(MEMORY).free > ROOM_IN_MEMORY
    return MEMORY if is_large else None


@contextlib.contextmanager
def _directory(name: str) -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix=f"wa-test-{name}-", dir=_in_memory()))
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


@pytest.fixture(scope="session")
async def postgres() -> AsyncIterator[PostgresServer]:
    """The run's Postgres. Do not stop it: others use it too; take `own_postgres` for that."""
    with _directory("postgres") as path:
        server = factory.postgres_server(path, durable=False)
        try:
            await server.start()
            await databases.provide(server.url, TEMPLATE, f"{TEMPLATE}_devices")
            yield server
        finally:
            await server.stop()


@pytest.fixture(scope="session")
async def rabbitmq() -> AsyncIterator[RabbitMQServer]:
    """The run's RabbitMQ. Do not stop it: others use it too; take `own_rabbitmq` for that."""
    with _directory("rabbitmq") as path:
        server = factory.rabbitmq_server(path)
        try:
            await server.start()
            yield server
        finally:
            await server.stop()


@contextlib.asynccontextmanager
async def databases_from(
    postgres: PostgresServer, template: str = TEMPLATE
) -> AsyncIterator[NewDatabase]:
    """A factory of fresh copies of that template; they are dropped at the end."""
    names: list[str] = []

    async def new() -> Databases:
        name = f"test_{next(_numbers)}"  # unique: the server lives as long as this process
        names.extend((name, f"{name}_devices"))
        return await databases.clone(postgres.url, template, name)

    yield new
    await databases.drop(postgres.url, *names)


@contextlib.asynccontextmanager
async def _vhosts(rabbitmq: RabbitMQServer) -> AsyncIterator[NewBroker]:
    names: list[str] = []

    async def new() -> str:
        names.append(f"test-{next(_numbers)}")
        return await rabbitmq.add_vhost(names[-1])

    yield new
    for name in names:
        await rabbitmq.delete_vhost(name)


@pytest.fixture(scope="module")
async def new_database(postgres: PostgresServer) -> AsyncIterator[NewDatabase]:
    """Call it for a fresh database with the services' roles and empty schemas, 0.1 s each."""
    async with databases_from(postgres) as new:
        yield new


@pytest.fixture(scope="module")
async def database(new_database: NewDatabase) -> Databases:
    """One fresh database for the module."""
    return await new_database()


@pytest.fixture(scope="module")
async def new_broker(rabbitmq: RabbitMQServer) -> AsyncIterator[NewBroker]:
    """Call it for the AMQP URL of a fresh vhost, 0.05 s each."""
    async with _vhosts(rabbitmq) as new:
        yield new


@pytest.fixture(scope="module")
async def broker(new_broker: NewBroker) -> str:
    """The AMQP URL of one fresh vhost for the module."""
    return await new_broker()


@pytest.fixture
async def own_postgres() -> AsyncIterator[OwnPostgres]:
    """Call it for a started Postgres that the test may stop, start and kill; 0.7 s each."""
    async with AsyncExitStack() as stack:

        async def new() -> PostgresServer:
            path = stack.enter_context(_directory("own-postgres"))
            server = factory.postgres_server(path, durable=False)
            stack.push_async_callback(server.stop)
            await server.start()
            return server

        yield new


@pytest.fixture
async def own_rabbitmq() -> AsyncIterator[OwnRabbitMQ]:
    """Call it for a started RabbitMQ that the test may stop, start and kill; 5 s each."""
    async with AsyncExitStack() as stack:

        async def new() -> RabbitMQServer:
            path = stack.enter_context(_directory("own-rabbitmq"))
            server = factory.rabbitmq_server(path)
            stack.push_async_callback(server.stop)
            await server.start()
            return server

        yield new
