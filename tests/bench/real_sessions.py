"""Linked sessions on the real engine against the stand-in: their memory, their start, and whether they leak."""

import asyncio
import time
from collections.abc import Sequence
from statistics import median
from typing import Any

import asyncpg
import psutil

from tests.bench.figures import Figure
from tests.bench.installation import SIMULATED, Servers
from tests.bench.load import run
from tests.bench.memory import Course
from tests.bench.sends import BODY, send_through
from tests.scrape import scraped
from tests.system.linking import link
from tests.system.ring import Ring
from tests.whatsapp import StandIn

HOST = "host-0"
LINKED_AT_ONCE = 4
SETTLE_SECONDS = 5.0
LOOK_SECONDS = 0.5


async def measure(servers: Servers) -> Sequence[Figure]:
    """One session alone, then all of them: started again, idle, and with messages both ways."""
    sessions, restarts = (3, 1) if servers.short else (50, 3)
    async with (
        StandIn.start() as whatsapp,
        servers.ring(
            engine="neonize",
            environment=SIMULATED,
            host_environment=whatsapp.engine_environment(),
        ) as ring,
    ):
        numbers = [str(919810000000 + number) for number in range(sessions)]
        tokens = await _linked(ring, whatsapp, numbers[:1])
        alone = [await _started_again(ring) for _ in range(restarts)]
        tokens += await _linked(ring, whatsapp, numbers[1:])
        together = await _started_again(ring)
        await asyncio.sleep(SETTLE_SECONDS)
        idle = await _worker_megabytes(ring)
        connections = await _device_connections(servers)
        courses = await _traffic(ring, whatsapp, dict(zip(numbers, tokens, strict=True)), servers)
        after = await _device_connections(servers)
    return [
        Figure(
            f"{sessions} linked idle sessions: memory of a worker, proportional",
            idle,
            "MB",
            25,
            "less",
        ),
        Figure("cold start of a linked session, alone", median(alone), "s", 2, "less", alone),
        Figure(f"cold start of {sessions} linked sessions at once", together, "s", 30, "less"),
        *(
            figure
            for course in courses
            for figure in course.figures(f"{servers.traffic_seconds:g} s of traffic", flat=1.1)
        ),
        Figure("Postgres connections of an idle worker", connections / sessions),
        Figure("Postgres connections of a worker after traffic", after / sessions),
    ]


async def _linked(ring: Ring, whatsapp: StandIn, numbers: Sequence[str]) -> list[str]:
    """Link a session for each of these numbers; their tokens."""
    gate = asyncio.Semaphore(LINKED_AT_ONCE)

    async def linked(number: str) -> str:
        async with gate:
            session: dict[str, Any] = await link(ring, whatsapp.phone(number), number)
            return str(session["token"])

    return await asyncio.gather(*(linked(number) for number in numbers))


async def _started_again(ring: Ring) -> float:
    """Restart the host; seconds from the first session that it takes over until all work.

    By the event store's clock. The host's own start, with its fork server's, is left out.
    """
    connection = await asyncpg.connect(ring.databases.session_host)
    try:
        before = await connection.fetchval("SELECT max(position) FROM events")
        await ring.end(HOST, within=30)
        await ring.restart(HOST)
        async with asyncio.timeout(120):
            while True:
                row = await connection.fetchrow(STARTED, before)
                assert row is not None
                if row["taken"] == row["working"] > 0:
                    return float(row["seconds"])
                await asyncio.sleep(LOOK_SECONDS)
    finally:
        await connection.close()


async def _worker_megabytes(ring: Ring) -> float:
    """What the workers hold, what they share divided among them; a worker's part."""
    shown = await scraped(ring, HOST)
    return shown.value("wa_worker_memory_bytes") / shown.value("wa_workers") / 1e6


def _workers(ring: Ring) -> Sequence[psutil.Process]:
    """What the fork server, the host's only child, has forked."""
    host = psutil.Process(ring.processes[HOST].pid)
    return [worker for server in host.children() for worker in server.children()]


async def _device_connections(servers: Servers) -> int:
    connection = await asyncpg.connect(servers.postgres.url)
    try:
        return int(await connection.fetchval(DEVICE_CONNECTIONS))
    finally:
        await connection.close()


async def _traffic(
    ring: Ring, whatsapp: StandIn, tokens: dict[str, str], servers: Servers
) -> Sequence[Course]:
    """Every session sends to a contact and hears from it, again and again; what its worker holds."""
    memory = Course("memory of a worker, proportional")
    descriptors, threads = Course("descriptors of a worker", ""), Course("threads of a worker", "")
    contact = whatsapp.contact(BODY["to"])
    callers = [send_through(ring, token) for token in tokens.values()]
    ends = time.monotonic() + servers.traffic_seconds
    while time.monotonic() < ends:
        await run(callers, len(callers))
        for number in tokens:
            await contact.send_text(number, "hello")
        workers = _workers(ring)
        memory.values.append(await _worker_megabytes(ring))
        descriptors.values.append(sum(w.num_fds() for w in workers) / len(workers))
        threads.values.append(sum(w.num_threads() for w in workers) / len(workers))
    return memory, descriptors, threads


STARTED = """
SELECT count(DISTINCT session_id) FILTER (WHERE type = 'session.connecting') AS taken,
       count(DISTINCT session_id) FILTER (WHERE type = 'session.connected') AS working,
       extract(epoch FROM max(occurred_at) FILTER (WHERE type = 'session.connected')
                        - min(occurred_at) FILTER (WHERE type = 'session.connecting')) AS seconds
FROM events WHERE position > $1
"""
DEVICE_CONNECTIONS = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'wa_devices'"
