"""What is measured: servers of the run's own, and the product on them."""

import os
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path
from typing import Any

import httpx

from deploy.local.services import python_module
from deploy.servers import databases
from deploy.servers.children import Child, Orders
from deploy.servers.factory import PostgresServer, RabbitMQServer
from deploy.servers.pgbouncer import EmbeddedPgBouncer
from deploy.servers.ports import free_port
from tests.deadlines import eventually
from tests.standing import standing_servers
from tests.system.ring import Ring

SIMULATED = {
    "SIMULATED_LINKS_AFTER": "0.05",
    "SIMULATED_RECEIPTS": "false",
    "SESSION_RATE_PER_MINUTE": "100000000",
    "SESSION_QUEUE_LIMIT": "100000000",
    "LOG_LEVEL": "WARNING",
}
"""Zero delay, and no limit that would be measured in place of the product."""
TEMPLATE = "bench"


@dataclass(frozen=True)
class Servers:
    """Postgres and RabbitMQ; `template` is a database with both services' tables.

    `traffic_seconds` is for how long what may leak is looked at; `stored_messages` is how many
    are stored before it is measured; None: what the measure stores by itself. `linked_sessions` are
    the numbers of real sessions, each measured on an installation of its own.
    """

    directory: Path
    postgres: PostgresServer
    rabbitmq: RabbitMQServer
    template: str
    short: bool
    traffic_seconds: float
    stored_messages: int | None = None
    linked_sessions: Sequence[int] = (50,)
    _numbers: "count[int]" = field(default_factory=lambda: count(1))

    @property
    def pids(self) -> Mapping[str, int]:
        """Their processes, by name; none for containers."""
        named = {"Postgres": self.postgres, "RabbitMQ": self.rabbitmq}
        return {name: server.pids[0] for name, server in named.items() if server.pids}

    @asynccontextmanager
    async def ring(self, *, pooled: bool = False, **arguments: Any) -> AsyncIterator[Ring]:
        """The product, on a fresh database and a fresh vhost; neither is left for the next one.

        `pooled` puts a PgBouncer before the device store, as an installation has one.
        """
        name = f"bench{next(self._numbers)}"
        stored = await databases.clone(self.postgres.url, self.template, name)
        broker = await self.rabbitmq.add_vhost(name)
        pool = EmbeddedPgBouncer(self.directory / f"{name}-pool", stored.devices)
        if pooled:
            await pool.start()
        made: dict[str, Any] = {"environment": SIMULATED, **arguments}
        ring = Ring(
            directory=self.directory / name,
            databases=replace(stored, devices=pool.url) if pooled else stored,
            broker=broker,
            migrated=True,
            **made,
        )
        try:
            await ring.start()
            yield ring
        finally:
            await ring.stop()
            await pool.stop()
            await self.rabbitmq.delete_vhost(name)
            await databases.drop(self.postgres.url, name, f"{name}_devices")

    @asynccontextmanager
    async def bare_ring(self) -> AsyncIterator[str]:
        """The bare ring's address."""
        port = free_port()
        environment = {"PATH": os.environ["PATH"], "AMQP_URL": self.rabbitmq.url}
        children = [
            Child.start(
                Orders(
                    f"bare-{part}",
                    python_module("tests.bench.bare_ring", part, "--port", str(port)),
                    environment,
                    self.directory / f"bare-{part}.log",
                )
            )
            for part in ("front", "back")
        ]
        url = f"http://127.0.0.1:{port}"
        try:
            async with httpx.AsyncClient(timeout=5) as client:

                async def answers() -> bool:
                    try:
                        return (await client.post(f"{url}/send", content=b"{}")).is_success
                    except httpx.TransportError:
                        return False

                await eventually(answers, every=0.1, what="the bare ring answers")
            yield url
        finally:
            for child in children:
                await child.kill()


@asynccontextmanager
async def started_servers(directory: Path, **what: Any) -> AsyncIterator[Servers]:
    """Start both, durable as in production, end both; `what` is what Servers says to measure."""
    async with standing_servers(directory) as (postgres, rabbitmq):
        stored = await databases.provide(postgres.url, TEMPLATE, f"{TEMPLATE}_devices")
        await Ring(directory=directory, databases=stored, broker=rabbitmq.url).migrate()
        yield Servers(directory, postgres, rabbitmq, TEMPLATE, **what)
