"""Interfaces of Postgres and RabbitMQ for the stack and the tests, and their factories."""

from pathlib import Path
from typing import Protocol

from deploy.servers import containers
from deploy.servers.postgres import EmbeddedPostgres
from deploy.servers.rabbitmq import EmbeddedRabbitMQ


class PostgresServer(Protocol):
    """A database server that can be started, stopped and killed repeatedly."""

    @property
    def url(self) -> str:
        """The superuser's URL; the same after every start."""
        ...

    @property
    def pids(self) -> tuple[int, ...]:
        """Pids among our child processes, the server first; empty for a container."""
        ...

    @property
    def running(self) -> bool:
        """True while the server's process exists."""
        ...

    async def start(self) -> None:
        """Start, and return once a query is answered."""
        ...

    async def stop(self) -> None:
        """Stop within a few seconds, even with clients connected."""
        ...

    async def kill(self) -> None:
        """SIGKILL; committed data is kept."""
        ...


class RabbitMQServer(Protocol):
    """A broker that can be started, stopped and killed repeatedly."""

    @property
    def url(self) -> str:
        """The administrator's URL of the vhost `/`; the same after every start."""
        ...

    @property
    def pids(self) -> tuple[int, ...]:
        """Pids among our child processes, the node first; empty for a container."""
        ...

    @property
    def running(self) -> bool:
        """True while the node's process exists."""
        ...

    async def start(self) -> None:
        """Start, and return once AMQP is answered."""
        ...

    async def stop(self) -> None:
        """Stop; confirmed messages are kept."""
        ...

    async def kill(self) -> None:
        """SIGKILL; confirmed messages of quorum queues are kept."""
        ...

    async def add_vhost(self, vhost: str) -> str:
        """Create a vhost; return its AMQP URL."""
        ...

    async def delete_vhost(self, vhost: str) -> None:
        """Delete a vhost with everything in it."""
        ...

    async def evaluate(self, expressions: str) -> str:
        """Evaluate Erlang expressions, ended by a full stop; return the last one's value."""
        ...


def postgres_server(
    directory: Path, *, port: int | None = None, durable: bool = True
) -> PostgresServer:
    """A container if an engine responds, else the embedded binaries. Not started yet."""
    if containers.engine_answers():
        return containers.ContainerPostgres(directory, port=port, durable=durable)
    return EmbeddedPostgres(directory, port=port, durable=durable)


def rabbitmq_server(directory: Path, *, port: int | None = None) -> RabbitMQServer:
    """A container if an engine responds, else a private node. Not started yet."""
    if containers.engine_answers():
        return containers.ContainerRabbitMQ(directory, port=port)
    return EmbeddedRabbitMQ(directory, port=port)
