"""Postgres and RabbitMQ as containers, if a container engine responds."""

import asyncio
import contextlib
import functools
import hashlib
import os
import secrets
import time
from pathlib import Path
from typing import Any
from urllib.parse import quote

import asyncpg

from deploy.servers.ports import free_port, speaks_amqp
from deploy.servers.rabbitmq import RabbitMQRefused

POSTGRES_IMAGE = "postgres:17"
RABBITMQ_IMAGE = "rabbitmq:4.1-management"
_SOCKETS = ("/var/run/docker.sock", "~/.docker/run/docker.sock")


@functools.cache
def engine_answers() -> bool:
    """True if a container engine answers a ping. A client on the PATH is no evidence.

    `WA_CONTAINERS=no` in the environment disables the check.
    """
    if os.environ.get("WA_CONTAINERS", "").lower() in {"no", "0", "false"}:
        return False
    if not os.environ.get("DOCKER_HOST") and not any(
        Path(path).expanduser().exists() for path in _SOCKETS
    ):
        return False
    import docker  # noqa: PLC0415 — slow, and seldom needed

    try:
        client = docker.from_env(timeout=3)
        try:
            return bool(client.ping())
        finally:
            client.close()
    except (docker.errors.DockerException, OSError):
        return False


class _Server:
    """A named container with a named volume. The next run finds both again."""

    image: str
    inner_port: int
    volume_path: str

    def __init__(self, directory: Path, *, port: int | None) -> None:
        self.directory = directory
        self.port = port or free_port()
        digest = hashlib.sha256(str(directory.resolve()).encode()).hexdigest()[:10]
        self.name = f"wa-{type(self).__name__.removeprefix('Container').lower()}-{digest}"
        self._password_file = directory / "container-password"
        self._container: Any = None

    @property
    def password(self) -> str:
        if not self._password_file.exists():
            self.directory.mkdir(parents=True, exist_ok=True)
            self._password_file.touch(mode=0o600)
            self._password_file.write_text(secrets.token_hex(16))
        return self._password_file.read_text()

    @property
    def pids(self) -> tuple[int, ...]:
        return ()

    @property
    def running(self) -> bool:
        if self._container is None:
            return False
        wrapped = self._container.get_wrapped_container()
        wrapped.reload()
        return bool(wrapped.attrs["State"]["Running"])

    def _environment(self) -> dict[str, str]:
        raise NotImplementedError

    def _command(self) -> str | None:
        return None

    def _run(self) -> None:
        from testcontainers.core.config import (  # noqa: PLC0415 — slow, and seldom needed
            testcontainers_config,
        )
        from testcontainers.core.container import DockerContainer  # noqa: PLC0415

        if self._container is not None:
            self._container.get_wrapped_container().start()
            return
        # No reaper: the data must outlive this process.
        testcontainers_config.ryuk_disabled = True
        self._remove_previous()
        container = DockerContainer(self.image).with_name(self.name)
        container.with_kwargs(hostname=self.name)
        container.ports[self.inner_port] = ("127.0.0.1", self.port)
        container.with_volume_mapping(self.name, self.volume_path, "rw")
        for name, value in self._environment().items():
            container.with_env(name, value)
        if (command := self._command()) is not None:
            container.with_command(command)
        self._container = container.start()

    def _remove_previous(self) -> None:
        import docker  # noqa: PLC0415 — slow, and seldom needed

        client = docker.from_env()
        try:
            with contextlib.suppress(docker.errors.NotFound):
                client.containers.get(self.name).remove(force=True)
        finally:
            client.close()

    async def stop(self) -> None:
        if self._container is not None:
            wrapped = self._container.get_wrapped_container()
            await asyncio.to_thread(wrapped.stop, timeout=20)

    async def kill(self) -> None:
        if self._container is not None:
            wrapped = self._container.get_wrapped_container()
            await asyncio.to_thread(wrapped.kill)
            await asyncio.to_thread(wrapped.wait)


class ContainerPostgres(_Server):
    """Postgres with its data in a named volume."""

    image = POSTGRES_IMAGE
    inner_port = 5432
    volume_path = "/var/lib/postgresql/data"

    def __init__(self, directory: Path, *, port: int | None = None, durable: bool = True) -> None:
        super().__init__(directory, port=port)
        self._durable = durable

    @property
    def url(self) -> str:
        return f"postgresql://postgres:{self.password}@127.0.0.1:{self.port}/postgres"

    def _environment(self) -> dict[str, str]:
        return {"POSTGRES_PASSWORD": self.password}

    def _command(self) -> str:
        reckless = "" if self._durable else " -c fsync=off -c full_page_writes=off"
        return "postgres -c max_connections=500" + reckless

    async def start(self, within: float = 120) -> None:
        await asyncio.to_thread(self._run)
        deadline = time.monotonic() + within
        while True:
            try:
                connection = await asyncpg.connect(self.url, timeout=5)
            except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
                if time.monotonic() > deadline:
                    raise
                await asyncio.sleep(0.1)
            else:
                await connection.close()
                return


class ContainerRabbitMQ(_Server):
    """RabbitMQ with its data in a named volume."""

    image = RABBITMQ_IMAGE
    inner_port = 5672
    volume_path = "/var/lib/rabbitmq"
    user = "wa"

    @property
    def url(self) -> str:
        return self.url_of("/")

    def url_of(self, vhost: str) -> str:
        credentials = f"{self.user}:{self.password}"
        return f"amqp://{credentials}@127.0.0.1:{self.port}/{quote(vhost, safe='')}"

    def __init__(self, directory: Path, *, port: int | None = None) -> None:
        super().__init__(directory, port=port)

    def _environment(self) -> dict[str, str]:
        return {"RABBITMQ_DEFAULT_USER": self.user, "RABBITMQ_DEFAULT_PASS": self.password}

    async def start(self, within: float = 120) -> None:
        await asyncio.to_thread(self._run)
        if not await speaks_amqp(self.port, within):
            raise TimeoutError(f"RabbitMQ's container did not answer within {within:.0f} s")

    async def add_vhost(self, vhost: str) -> str:
        await self._exec("rabbitmqctl", "-q", "add_vhost", vhost)
        await self._exec(
            "rabbitmqctl", "-q", "set_permissions", "-p", vhost, self.user, ".*", ".*", ".*"
        )
        return self.url_of(vhost)

    async def delete_vhost(self, vhost: str) -> None:
        await self._exec("rabbitmqctl", "-q", "delete_vhost", vhost)

    async def evaluate(self, expressions: str) -> str:
        return await self._exec("rabbitmqctl", "-q", "eval", expressions)

    async def _exec(self, *command: str) -> str:
        wrapped = self._container.get_wrapped_container()
        code, output = await asyncio.to_thread(wrapped.exec_run, list(command))
        text = bytes(output).decode(errors="replace").strip()
        if code != 0:
            raise RabbitMQRefused(f"{' '.join(command[:3])} failed: {text}")
        return text
