"""Postgres and RabbitMQ for a local run: external ones, else containers, else embedded ones."""

import asyncio
import fcntl
import os
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from dotenv import dotenv_values

from deploy.local.configuration import Configuration, Misconfigured
from deploy.local.services import Owner
from deploy.servers import broker_users, databases, factory
from deploy.servers.broker_users import BrokerUrls
from deploy.servers.children import ChildDied, ProcessRecord
from deploy.servers.pgbouncer import EmbeddedPgBouncer, PoolUnavailable
from deploy.servers.ports import free_port

Migrate = Callable[[databases.Databases], Awaitable[None]]
Say = Callable[[str], None]


@dataclass(frozen=True)
class Urls:
    """URLs of the servers. `environment` is what `stack.env` contains."""

    databases: databases.Databases
    brokers: BrokerUrls

    @property
    def broker(self) -> str:
        """The administrator's URL."""
        return self.brokers.administrator

    def environment(self) -> dict[str, str]:
        return self.databases.environment() | {"AMQP_URL": self.broker}

    def environment_of(self, owner: Owner) -> dict[str, str]:
        """The environment of a service's process, with that service's broker user."""
        of = {"api": self.brokers.api, "session-host": self.brokers.session_host}
        return self.environment() | {"AMQP_URL": of[owner]}


class Stack:
    """The servers of one data directory, during the context.

    Reuses the last run's ports if they are free, and writes the URLs to `DATA_DIR/stack.env`. One
    process at a time may use a data directory.
    """

    def __init__(self, configuration: Configuration, say: Say | None = None) -> None:
        """`say` is called for each server that is up."""
        self._configuration = configuration
        self._say = say or _silently
        self._directory = configuration.data_dir
        self.record = ProcessRecord(self._directory / "processes.json")
        self.postgres: factory.PostgresServer | None = None
        self.rabbitmq: factory.RabbitMQServer | None = None
        self.pool: EmbeddedPgBouncer | None = None
        self._lock: IO[str] | None = None

    async def __aenter__(self) -> Self:
        self._lock = self._take_directory()
        self.leftovers = self.record.end_leftovers()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # Reverse order of dependence: the broker first, then the pool, then the database.
        try:
            for server in (self.rabbitmq, self.pool, self.postgres):
                if server is not None:
                    await server.stop()
        finally:
            self.record.clear()
            if self._lock is not None:
                self._lock.close()

    async def start(self, migrate: Migrate | None = None) -> Urls:
        """Start the servers, create the databases, write `stack.env`; return the URLs.

        `migrate` runs once the databases exist, while the broker is still starting.
        """
        async with asyncio.TaskGroup() as group:
            broker = group.create_task(self._start_broker())
            made = await self._start_postgres()
            if migrate is not None:
                await migrate(made)
        urls = Urls(made, broker.result())
        _write_private(
            self._directory / "stack.env",
            "".join(f"{name}={value}\n" for name, value in urls.environment().items()),
        )
        return urls

    async def _start_postgres(self) -> databases.Databases:
        named = self._configuration.external_databases
        if named is not None:
            return databases.Databases(*named.values())
        self.postgres = factory.postgres_server(
            self._directory / "postgres", port=self._port("API_DATABASE_URL", 5433)
        )
        began = time.monotonic()
        await self.postgres.start()
        self._record(self.postgres.pids)
        self._say(f"Postgres is up after {time.monotonic() - began:.1f} s.")
        made = await databases.provide(self.postgres.url)
        return replace(made, devices=await self._pooled(made.devices))

    async def _pooled(self, devices: str) -> str:
        """The device store's URL behind a pool; the same URL if there is no pool to be had."""
        if self._configuration.engine == "simulated":
            return devices
        pool = EmbeddedPgBouncer(
            self._directory / "pgbouncer", devices, port=self._port("DEVICE_STORE_URL", 6433)
        )
        try:
            await pool.start()
        except (PoolUnavailable, ChildDied) as error:
            self._say(f"{error} Without it, each session takes two connections of Postgres.")
            return devices
        self.pool = pool
        self._record(pool.pids)
        return pool.url

    async def _start_broker(self) -> BrokerUrls:
        if self._configuration.external_broker is not None:
            return broker_users.same_for_all(self._configuration.external_broker)
        self.rabbitmq = factory.rabbitmq_server(
            self._directory / "rabbitmq", port=self._port("AMQP_URL", 5673)
        )
        began = time.monotonic()
        await self.rabbitmq.start()
        self._record(self.rabbitmq.pids)
        self._say(f"RabbitMQ is up after {time.monotonic() - began:.1f} s.")
        return await broker_users.provide(self.rabbitmq)

    def _record(self, pids: tuple[int, ...]) -> None:
        for pid in pids:
            self.record.add(pid)

    def _port(self, name: str, otherwise: int) -> int:
        """The port of the last run, so that known URLs remain valid."""
        last = dotenv_values(self._directory / "stack.env").get(name) or ""
        digits = last.rpartition("@")[2].partition(":")[2].partition("/")[0]
        return free_port(int(digits) if digits.isdigit() else otherwise)

    def _take_directory(self) -> IO[str]:
        self._directory.mkdir(parents=True, exist_ok=True)
        lock = (self._directory / "lock").open("a+")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            owner = lock.read().strip() or "unknown"
            lock.close()
            raise Misconfigured(
                f"{self._directory} is in use by another run (process {owner}): stop that one, "
                "or choose another directory with DATA_DIR."
            ) from None
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        return lock


def _silently(_: str) -> None:
    pass


def _write_private(path: Path, text: str) -> None:
    draft = path.with_name(path.name + ".new")
    draft.unlink(missing_ok=True)
    draft.touch(mode=0o600)
    draft.write_text(text)
    draft.replace(path)
