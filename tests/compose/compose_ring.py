"""A running compose project, as a ring of containers."""

import asyncio
import os
from pathlib import Path

import docker
from docker.models.containers import Container

from deploy.servers.databases import Databases
from tests.deadlines import eventually
from tests.system.ring import Ring

_SERVICES = {"host": "session-host", "api": "api", "projector": "projector"}


class ContainerProcess:
    """A container in the place of a process."""

    def __init__(self, container: Container) -> None:
        self.container = container

    @property
    def alive(self) -> bool:
        """Whether it runs, as the engine says."""
        self.container.reload()
        return bool(self.container.status == "running")


class ComposeRing(Ring):
    """What tests of a ring ask for, of containers: `host-0` is the first of session-host.

    The databases are out of reach, as they are for everybody outside.
    """

    def __init__(self, project: str, directory: Path) -> None:
        password = os.environ["RABBITMQ_PASSWORD"]
        super().__init__(
            directory=directory,
            databases=Databases("", "", ""),
            broker=f"amqp://wa:{password}@127.0.0.1:5672/",
        )
        self.admin_key = os.environ["ADMIN_KEY"]
        self._project = project
        self._engine = docker.from_env()

    def url(self, api: int = 0) -> str:
        """Where the api is published."""
        assert api == 0
        return "http://127.0.0.1:3000"

    def container(self, name: str) -> Container:
        """The container that a process's name stands for, running or not."""
        role, _, number = name.partition("-")
        labels = [
            f"com.docker.compose.project={self._project}",
            f"com.docker.compose.service={_SERVICES[role]}",
            f"com.docker.compose.container-number={int(number or 0) + 1}",
        ]
        (found,) = self._engine.containers.list(all=True, filters={"label": labels})
        assert isinstance(found, Container)
        return found

    async def kill(self, name: str, *, with_family: bool = True) -> None:
        """SIGKILL everything in the container. The engine does not start again what was killed so."""
        assert with_family
        container = self.container(name)
        await asyncio.to_thread(container.kill)
        process = ContainerProcess(container)
        self.processes[name] = process  # type: ignore[assignment]
        await eventually(lambda: not process.alive, what=f"{name} is gone")

    async def restart(self, name: str, within: float = 60) -> None:
        """Start it again and wait until its own health check is content."""
        container = self.container(name)
        await asyncio.to_thread(container.start)

        def healthy() -> bool:
            container.reload()
            return bool(container.attrs["State"]["Health"]["Status"] == "healthy")

        await eventually(healthy, within=within, every=0.3, what=f"{name} is healthy")

    async def stop(self) -> None:
        """Close the clients; the project goes on."""
        await self._clients.aclose()
        self._admin = None
