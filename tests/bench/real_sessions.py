"""Linked sessions on the real engine against the stand-in: what they cost, and what they survive.

The device store is behind a PgBouncer, as in an installation. The stand-in and the clients run in
the bench's own process, on the same machine: figures of the machine include them.
"""

import asyncio
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from statistics import median
from typing import Any

import asyncpg
import psutil

from tests.bench.figures import Figure
from tests.bench.installation import SIMULATED, Servers
from tests.bench.load import Run, run
from tests.bench.memory import Course, proportional_megabytes, used_megabytes
from tests.bench.sends import BODY, send_through
from tests.bench.stored import all_work
from tests.deadlines import eventually
from tests.system.linking import link
from tests.system.ring import Ring
from tests.whatsapp import StandIn

LINKED_AT_ONCE = 6
SENT_AT_ONCE = 50
SETTLE_SECONDS = 10.0
IDLE_SECONDS = 20.0
RESTARTS_ALONE = 3
SHARED_OUT_SECONDS = 300
LEASE_SECONDS = 10
FIRST_NUMBER = 919_810_000_000
CONNECTIONS = """
SELECT count(*) FROM pg_stat_activity
WHERE backend_type = 'client backend' AND pid <> pg_backend_pid() AND ($1::text IS NULL OR usename = $1)
"""
PARTS = {
    "postgres": "Postgres",
    "pgbouncer": "PgBouncer",
    "beam.smp": "RabbitMQ",
}
"""The parts of an installation by the names of their processes."""


async def measure(servers: Servers) -> Sequence[Figure]:
    """All figures, for each number of sessions."""
    figures: list[Figure] = []
    for number in servers.linked_sessions:
        figures += await _measure(servers, number)
    return figures


async def _measure(servers: Servers, number: int) -> Sequence[Figure]:
    used_before = used_megabytes()
    async with (
        StandIn.start() as whatsapp,
        servers.ring(
            pooled=True,
            engine="neonize",
            environment={**SIMULATED, "LEASE_SECONDS": str(LEASE_SECONDS)},
            host_environment=whatsapp.engine_environment(),
        ) as ring,
    ):
        made = _Installation(servers, whatsapp, ring, {})
        await made.link(1)
        alone = [await made.restarted(orderly=True) for _ in range(RESTARTS_ALONE)]
        began = time.monotonic()
        await made.link(number)
        linked = time.monotonic() - began
        restarted = await made.restarted()
        await asyncio.sleep(SETTLE_SECONDS)
        idle, whole = made.worker_megabytes(), used_megabytes() - used_before
        parts, cores = made.megabytes_by_part(), await _idle_cores(servers)
        connections, of_engines = [await made.connections(role) for role in (None, "wa_devices")]
        courses = await made.traffic()
        afterwards = await made.connections()
        taken_over = await made.failed_over()
        at_last = await made.send()
    name = f"{number} linked sessions"
    return [
        Figure(
            f"{name}: one alone works after an orderly restart", median(alone), "s", rounds=alone
        ),
        Figure(f"{name}: linked in", linked, "s"),
        Figure(f"{name}: all work after kill and restart", restarted, "s", 60, "less"),
        Figure(f"{name}: memory of an idle worker", idle, "MB", 14, "less"),
        Figure(f"{name}: memory of the idle machine ÷ sessions", whole / number, "MB", 16, "less"),
        *(Figure(f"{name}: memory of {part}", size, "MB") for part, size in parts.items()),
        Figure(f"{name}: idle cores, everything", cores, "", 0.5, "less"),
        Figure(f"{name}: Postgres connections, idle", connections, "", 60, "less"),
        Figure(f"{name}: Postgres connections of engines, idle", of_engines),
        Figure(f"{name}: Postgres connections after traffic", afterwards, "", 60, "less"),
        *(figure for course in courses for figure in course.figures(f"{name}, traffic", flat=1.1)),
        Figure(*(f"{name}: all work after fail-over", taken_over, "s", LEASE_SECONDS + 60, "less")),
        Figure(f"{name}: sends after fail-over, 50 at once", at_last.per_second, "/s"),
    ]


@dataclass(frozen=True)
class _Installation:
    """A ring on the real engine; `tokens` of the linked sessions by phone number."""

    servers: Servers
    whatsapp: StandIn
    ring: Ring
    tokens: dict[str, str]

    async def link(self, number: int) -> None:
        """Link sessions until there are so many."""
        gate = asyncio.Semaphore(LINKED_AT_ONCE)

        async def linked(phone: str) -> None:
            async with gate:
                session: dict[str, Any] = await link(self.ring, self.whatsapp.phone(phone), phone)
                self.tokens[phone] = session["token"]

        phones = (str(FIRST_NUMBER + at) for at in range(len(self.tokens), number))
        await asyncio.gather(*(linked(phone) for phone in phones))

    async def restarted(self, *, orderly: bool = False) -> float:
        """End the host, by SIGKILL with its workers if not orderly; seconds until all work again."""
        since, began = datetime.now(UTC), time.monotonic()
        if orderly:
            await self.ring.end("host-0")
        else:
            await self.ring.kill_host(with_workers=True)
        await self.ring.restart("host-0")
        await all_work(self.ring, len(self.tokens), since)
        return time.monotonic() - began

    async def failed_over(self) -> float:
        """SIGKILL to one of two hosts and its workers; seconds from it until all work."""
        await self.ring.add_host()

        async def shared_out() -> bool:
            shares = [len(self.workers(name)) for name in ("host-0", "host-1")]
            await all_work(self.ring, len(self.tokens), datetime.fromtimestamp(0, UTC))
            return sum(shares) == len(self.tokens) and min(shares) > 0

        await eventually(
            shared_out, within=SHARED_OUT_SECONDS, every=0.5, what="both hosts have sessions"
        )
        lost = len(self.workers("host-0"))
        since, began = datetime.now(UTC), time.monotonic()
        await self.ring.kill_host(with_workers=True)
        await all_work(self.ring, lost, since)
        return time.monotonic() - began

    async def send(self) -> Run:
        """Every session sends a message. AssertionError if one is not sent."""
        callers = [send_through(self.ring, token) for token in self.tokens.values()]
        return await run(callers, len(callers), clients=min(SENT_AT_ONCE, len(callers)))

    async def traffic(self) -> Sequence[Course]:
        """Every session sends to a contact and hears from it, again and again; what a worker holds."""
        memory = Course("memory of a worker, proportional")
        descriptors = Course("descriptors of a worker", "")
        threads = Course("threads of a worker", "")
        contact = self.whatsapp.contact(BODY["to"])
        ends = time.monotonic() + self.servers.traffic_seconds
        while not memory.values or time.monotonic() < ends:
            await self.send()
            for number in self.tokens:
                await contact.send_text(number, "hello")
            workers = self.workers()
            memory.values.append(self.worker_megabytes())
            descriptors.values.append(sum(w.num_fds() for w in workers) / len(workers))
            threads.values.append(sum(w.num_threads() for w in workers) / len(workers))
        return memory, descriptors, threads

    def workers(self, host: str = "host-0") -> Sequence[psutil.Process]:
        """What the fork server, the host's only child, has forked."""
        process = psutil.Process(self.ring.processes[host].pid)
        return [worker for server in process.children() for worker in server.children()]

    def worker_megabytes(self) -> float:
        """A worker's proportional memory, on average."""
        sizes = [proportional_megabytes(worker.pid) for worker in self.workers()]
        return sum(sizes) / len(sizes)

    def megabytes_by_part(self) -> dict[str, float]:
        """Proportional memory of each part of the installation but the workers."""
        sizes = defaultdict[str, float](float)
        workers = {worker.pid for worker in self.workers()}
        services = {child.pid: child.name for child in self.ring.processes.values()}
        for process in _family(self.servers):
            if process.pid not in workers:
                part = services.get(process.pid) or PARTS.get(process.name(), "the rest")
                sizes[part] += proportional_megabytes(process.pid)
        return sizes

    async def connections(self, role: str | None = None) -> int:
        """How many clients Postgres has, of all roles or of one."""
        connection = await asyncpg.connect(self.servers.postgres.url)
        try:
            return int(await connection.fetchval(CONNECTIONS, role))
        finally:
            await connection.close()


def _family(servers: Servers) -> Sequence[psutil.Process]:
    """Every process of the bench: its own, what it started, and the servers'."""
    roots = [psutil.Process(), *(psutil.Process(pid) for pid in servers.pids.values())]
    found = {p.pid: p for root in roots for p in (root, *root.children(recursive=True))}
    return list(found.values())


async def _idle_cores(servers: Servers) -> float:
    """Cores that the whole bench keeps busy, itself included."""
    family = _family(servers)

    def used() -> float:
        times = [process.cpu_times() for process in family]
        return sum(one.user + one.system for one in times)

    before, began = used(), time.monotonic()
    await asyncio.sleep(IDLE_SECONDS)
    return (used() - before) / (time.monotonic() - began)
