"""The field that strikes fall on: servers, two hosts, an api, a recorder and a consumer of its own.

The second host's clock is a minute ahead, and it, the api and the projector reach broker and
database through proxies that can be disturbed.
"""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg

from deploy.servers import databases
from deploy.servers.databases import Databases
from deploy.servers.factory import PostgresServer, RabbitMQServer
from tests.deadlines import eventually
from tests.faults import recorder
from tests.faults.clients import Clients
from tests.faults.findings import ENDED, Findings
from tests.faults.strikes import Strike
from tests.proxy import Proxy, proxy_to
from tests.queues import is_consumed
from tests.standing import standing_servers
from tests.system.ring import Ring
from wa_contracts.consumer import subscribe
from wa_contracts.envelope import Envelope
from wa_contracts.ids import SessionId
from wa_contracts.topology import partition_of

SETTLED_WITHIN = 180.0
WARNINGS = 30
WRONG_CLOCK = {
    "PYTHONPATH": str(Path(__file__).parent / "wrong_clock"),
    "CLOCK_OFF_SECONDS": "60",
}
OWNED = "SELECT partition FROM partitions WHERE host = $1 AND expires_at > clock_timestamp()"
STORED = """
SELECT id, session_id, session_sequence, stream, type, occurred_at FROM events ORDER BY position
"""


@dataclass
class Field:
    """Everything that runs, and the places where it can be struck."""

    ring: Ring
    postgres: PostgresServer
    rabbitmq: RabbitMQServer
    store: Databases
    log: Path
    host_broker: Proxy
    host_database: Proxy
    front_broker: Proxy
    front_database: Proxy
    sessions: list[dict[str, Any]] = field(default_factory=list)
    consumed: list[Envelope] = field(default_factory=list)

    @property
    def wires(self) -> tuple[Proxy, ...]:
        """All connections that can be disturbed."""
        return (self.host_broker, self.host_database, self.front_broker, self.front_database)

    async def open_sessions(self, number: int) -> None:
        """Sessions that work."""
        for _ in range(number):
            self.sessions.append(await self.ring.create_session("struck"))
        for session in self.sessions:
            await self.ring.wait_for_status(session["sessionId"], "working")

    async def sessions_of(self, process: str) -> frozenset[str]:
        """The sessions that a host owns now."""
        started = [line for line in self.ring.log(process).splitlines() if "host_started" in line]
        host = started[-1].split("host=")[1].split()[0]
        connection = await asyncpg.connect(self.store.session_host)
        try:
            owned = {row["partition"] for row in await connection.fetch(OWNED, host)}
        finally:
            await connection.close()
        ids = [session["sessionId"] for session in self.sessions]
        return frozenset(id_ for id_ in ids if partition_of(SessionId(UUID(id_))) in owned)

    async def findings(self, clients: Clients, strikes: list[Strike]) -> Findings:
        """What every side saw once every message had ended and all events were consumed.

        It is all of one moment: a session that moves from host to host later stores more events.
        """
        quiet = await eventually(self._quiet, within=SETTLED_WITHIN, what="all is quiet", every=0.3)
        return Findings(
            strikes=strikes,
            sent=clients.sent,
            recorded=recorder.read(self.log),
            consumed=quiet.consumed,
            stored=quiet.stored,
            projected=quiet.projected,
            warnings=self._warnings(),
        )

    def _warnings(self) -> list[str]:
        """The last of each host, with its name. The second host's clock is a minute ahead."""
        found = []
        for name in self.ring.processes:
            if name.startswith("host-"):
                lines = self.ring.log(name).splitlines()
                wrong = [line for line in lines if "[warning" in line or "[error" in line]
                found += [f"{name}: {line}" for line in wrong[-WARNINGS:]]
        return found

    async def _quiet(self) -> "_Quiet":
        try:
            projected = await self._projected()
            stored = await stored_events(self.store)
        except (OSError, asyncpg.PostgresError) as error:
            raise AssertionError(str(error)) from error
        consumed = list(self.consumed)
        open_messages = [row for row in projected.values() if row["status"] not in ENDED]
        queued = {row["stream"] for row in stored if row["type"] == "message.queued"}
        lives = {row["stream"]: row["type"] for row in stored if row["type"].startswith("session.")}
        unrest = {stream: last for stream, last in lives.items() if last != "session.connected"}
        public = {row["id"] for row in stored if row["session_sequence"] is not None}
        late = public ^ {event.id for event in consumed}
        assert not unrest, f"sessions are on their way: {unrest}"
        assert not open_messages, f"{len(open_messages)} messages are open"
        assert not late, f"of {len(public)} events {len(late)} were only stored or only consumed"
        assert len(projected) >= len(queued), f"{len(projected)} of {len(queued)} are projected"
        return _Quiet(stored, consumed, projected)

    async def _projected(self) -> dict[str, dict[str, Any]]:
        """Every message as the api shows it."""
        connection = await asyncpg.connect(self.store.api)
        try:
            rows = await connection.fetch("SELECT id, status FROM messages")
        finally:
            await connection.close()
        return {str(row["id"]): dict(row) for row in rows}


@dataclass(frozen=True)
class _Quiet:
    """Every side at one moment."""

    stored: list[dict[str, Any]]
    consumed: list[Envelope]
    projected: dict[str, dict[str, Any]]


async def stored_events(store: Databases) -> list[dict[str, Any]]:
    """The whole event store, in the order of storing."""
    connection = await asyncpg.connect(store.session_host)
    try:
        return [dict(row) for row in await connection.fetch(STORED)]
    finally:
        await connection.close()


@asynccontextmanager
async def a_field(directory: Path) -> AsyncIterator[Field]:
    """A field on servers and processes of its own."""
    async with AsyncExitStack() as stack:
        postgres, rabbitmq = await stack.enter_async_context(standing_servers(directory))
        store = await databases.provide(postgres.url, "struck", "struck_devices")
        log = directory / "recorded.jsonl"
        address = await stack.enter_async_context(recording(log))
        enter = stack.enter_async_context
        host_broker, host_amqp = await enter(proxy_to(rabbitmq.url))
        host_database, host_url = await enter(proxy_to(store.session_host))
        front_broker, front_amqp = await enter(proxy_to(rabbitmq.url))
        front_database, front_url = await enter(proxy_to(store.api))
        front = {"AMQP_URL": front_amqp, "API_DATABASE_URL": front_url}
        ring = Ring(
            directory=directory / "ring",
            databases=store,
            broker=rabbitmq.url,
            environment={
                "LEASE_SECONDS": "3",
                "SIMULATED_LINKS_AFTER": "0.1",
                "SIMULATED_SERVER": address,
                "SEND_WAIT_SECONDS": "10",
                "SESSION_RATE_PER_MINUTE": "100000",
            },
            api_environment=front,
            projector_environment=front,
        )
        stack.push_async_callback(ring.stop)
        await ring.start()
        await ring.add_host(
            {"AMQP_URL": host_amqp, "SESSION_HOST_DATABASE_URL": host_url, **WRONG_CLOCK}
        )
        made = Field(
            ring,
            postgres,
            rabbitmq,
            store,
            log,
            host_broker,
            host_database,
            front_broker,
            front_database,
        )
        consumer = asyncio.create_task(_consume(rabbitmq.url, made.consumed))
        stack.callback(consumer.cancel)
        await eventually(lambda: is_consumed(rabbitmq.url, "struck"), what="the consumer listens")
        yield made


@asynccontextmanager
async def recording(log: Path) -> AsyncIterator[str]:
    """The recorder in a process of its own; its address."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.faults.recorder", str(log), stdout=asyncio.subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        port = (await process.stdout.readline()).decode().strip()
        yield f"127.0.0.1:{port}"
    finally:
        process.terminate()
        await process.wait()


async def _consume(url: str, consumed: list[Envelope]) -> None:
    """Consume every event as an independent program does."""
    async for event in subscribe(url, queue="struck"):
        consumed += (event,)
