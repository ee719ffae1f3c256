"""What the stack and the tests ask of a Postgres and a RabbitMQ, however they are run."""

from pathlib import Path
from typing import Protocol

from deploy.local import containers
from deploy.local.postgres import EmbeddedPostgres
from deploy.local.rabbitmq import EmbeddedRabbitMQ


class PostgresServer(Protocol):
    """A database server that can be started, stopped and killed any number of times."""

    @property
    def url(self) -> str:
        """The superuser's URL; the same after every start."""
        ...

    @property
    def pids(self) -> tuple[int, ...]:
        """Its processes among our own children, the server first; empty for a container."""
        ...

    @property
    def running(self) -> bool:
        """Whether its process is there."""
        ...

    async def start(self) -> None:
        """Return once it answers a query."""
        ...

    async def stop(self) -> None:
        """In order, in a few seconds, with clients connected."""
        ...

    async def kill(self) -> None:
        """As a power cut of the process; committed data survives it."""
        ...


class RabbitMQServer(Protocol):
    """A broker that can be started, stopped and killed any number of times."""

    @property
    def url(self) -> str:
        """The administrator's URL of the vhost `/`; the same after every start."""
        ...

    @property
    def pids(self) -> tuple[int, ...]:
        """Its processes among our own children, the node first; empty for a container."""
        ...

    @property
    def running(self) -> bool:
        """Whether its process is there."""
        ...

    async def start(self) -> None:
        """Return once it greets AMQP clients."""
        ...

    async def stop(self) -> None:
        """In order; confirmed messages are kept."""
        ...

    async def kill(self) -> None:
        """SIGKILL; confirmed messages of quorum queues are kept."""
        ...

    async def add_vhost(self, vhost: str) -> str:
        """Make a vhost; its AMQP URL."""
        ...

    async def delete_vhost(self, vhost: str) -> None:
        """Remove a vhost with everything in it."""
        ...

    async def evaluate(self, expressions: str) -> str:
        """Evaluate Erlang expressions, ended by a full stop, on the node; the last one's value."""
        ...


def postgres_server(
    directory: Path, *, port: int | None = None, durable: bool = True
) -> PostgresServer:
    """A container if an engine answers, else the embedded binaries; not started yet."""
    if containers.engine_answers():
        return containers.ContainerPostgres(directory, port=port, durable=durable)
    return EmbeddedPostgres(directory, port=port, durable=durable)


def rabbitmq_server(directory: Path, *, port: int | None = None) -> RabbitMQServer:
    """A container if an engine answers, else a private node; not started yet."""
    if containers.engine_answers():
        return containers.ContainerRabbitMQ(directory, port=port)
    return EmbeddedRabbitMQ(directory, port=port)
