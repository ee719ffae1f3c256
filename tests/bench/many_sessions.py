"""One host with 10,000 simulated sessions: how soon all work, and what they cost while nothing happens."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import asyncpg
import psutil

from tests.bench.figures import Figure
from tests.bench.installation import Servers
from tests.bench.load import Processor
from tests.bench.memory import watched_memory
from tests.bench.stored import all_work, store_sessions
from tests.system.ring import Ring

FEW = 10
SETTLE_SECONDS = 3


@dataclass(frozen=True)
class Idle:
    """A host all of whose sessions work and have nothing to do; `held` is what it keeps open."""

    started_in: float
    megabytes: float
    cores: float
    held: Mapping[str, int]


async def measure(servers: Servers) -> Sequence[Figure]:
    """With few sessions and with many: what the host keeps open should be the same."""
    sessions, seconds = (1_000, 1.0) if servers.short else (10_000, 30.0)
    async with servers.ring(hosts=0, apis=0) as ring:
        await store_sessions(ring.databases, FEW)
        few = await _idle(servers, ring, FEW, seconds)
        await store_sessions(ring.databases, sessions - FEW)
        many = await _idle(servers, ring, sessions, seconds)
    name = f"{sessions:,} sessions on one host"
    return [
        Figure(f"{name}: start until all work", many.started_in, "s", 60, "less"),
        Figure(f"{name}: resident, at most", many.megabytes, "MB", 1000, "less"),
        Figure(f"{name}: processor, idle", many.cores * 100, "% of a core", 10, "less"),
        *(
            Figure(f"{name}: {what} ÷ with {FEW}", many.held[what] / held, "", 1, "less")
            for what, held in few.held.items()
        ),
        *(Figure(f"{name}: {what}", held) for what, held in many.held.items()),
        Figure(f"{FEW} sessions on one host: processor, idle", few.cores * 100, "% of a core"),
    ]


async def _idle(servers: Servers, ring: Ring, sessions: int, seconds: float) -> Idle:
    """Start a host for the stored sessions, look at it, end it."""
    began_at, began = datetime.now(UTC), time.perf_counter()
    host = f"host-{await ring.add_host()}"
    pid = ring.processes[host].pid
    async with watched_memory({host: pid}) as courses:
        await all_work(ring, sessions, began_at)
        started_in = time.perf_counter() - began
        await asyncio.sleep(SETTLE_SECONDS)
        processor = Processor({host: pid})
        await asyncio.sleep(seconds)
        used = processor.since()[host]
    held = await _held(servers, ring, pid)
    await ring.end(host, within=60)
    return Idle(started_in, max(courses[0].values), used / seconds, held)


async def _held(servers: Servers, ring: Ring, pid: int) -> Mapping[str, int]:
    """What the host has open; the channels are the projector's too, which has the same always."""
    host = psutil.Process(pid)
    connection = await asyncpg.connect(ring.databases.session_host)
    try:
        connections = await connection.fetchval(CONNECTIONS)
    finally:
        await connection.close()
    vhost = ring.broker.rpartition("/")[2]
    channels = await servers.rabbitmq.evaluate(CHANNELS.format(vhost=vhost))
    return {
        "threads": host.num_threads(),
        "descriptors": host.num_fds(),
        "Postgres connections": connections,
        "AMQP channels": int(channels),
    }


CONNECTIONS = """
SELECT count(*) FROM pg_stat_activity
WHERE usename = current_user AND datname = current_database() AND pid <> pg_backend_pid()
"""
CHANNELS = 'length([1 || [{{vhost, <<"{vhost}">>}}] <- rabbit_channel:info_all([vhost])]).'
