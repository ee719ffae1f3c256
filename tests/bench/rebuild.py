"""How quickly a rebuild makes the projections from stored events, and in how much memory.

`python -m tests.bench.rebuild --events 100000`: servers and processes of its own, one host.
"""

import argparse
import asyncio
import tempfile
import time
from contextlib import AsyncExitStack
from pathlib import Path

import asyncpg

from deploy.local import databases
from deploy.local.children import Child
from deploy.local.databases import Databases
from tests.standing import standing_servers
from tests.system.ring import Ring

SESSIONS = 50
EVENTS_OF_A_MESSAGE = 4  # queued, started (internal), sent, delivered
PUBLIC = 3

FILL = """
WITH opened AS (
    SELECT session_id, partition, max(session_sequence) AS last, row_number() OVER () - 1 AS number
    FROM events GROUP BY session_id, partition
), message AS (
    SELECT gen_random_uuid() AS id, opened.*, n / $2 AS nth
    FROM generate_series(0, $1 - 1) AS n JOIN opened ON opened.number = n % $2
), event AS (
    SELECT message.*, v.version,
           CASE v.version WHEN 1 THEN last + nth * 3 + 1 WHEN 3 THEN last + nth * 3 + 2
                          WHEN 4 THEN last + nth * 3 + 3 END AS sequence,
           (ARRAY['message.queued', 'message.send_started', 'message.sent', 'message.delivered']
           )[v.version] AS type
    FROM message, generate_series(1, 4) AS v (version)
)
INSERT INTO events (partition, session_id, session_sequence, stream, stream_version, id, type,
                    version, occurred_at, correlation_id, causation_id, data)
SELECT partition, session_id, sequence, 'message-' || id, version, gen_random_uuid(), type, 1,
       now(), id, id,
       jsonb_build_object('id', id, 'to', '919876543210', 'type', 'text', 'reference', 'order 7',
           'messageId', '3EB0' || id, 'expiresAt', now(), 'startedAt', now(), 'sentAt', now(),
           'deliveredAt', now())
FROM event ORDER BY nth, session_id, version
"""
RELAYED = "UPDATE partitions SET relayed_position = (SELECT max(position) FROM events)"
SEQUENCES = "SELECT session_id, max(session_sequence) FROM events GROUP BY session_id"
APPLIED = """
UPDATE checkpoints SET applied_sequence = $2, seen_sequence = $2 WHERE session_id = $1
"""


async def fill(store: Databases, messages: int) -> None:
    """Store the events of that many messages as if they had been relayed and projected."""
    connection = await asyncpg.connect(store.session_host, command_timeout=600)
    try:
        await connection.execute(FILL, messages, SESSIONS)
        await connection.execute(RELAYED)
        await connection.execute("ANALYZE events")
        sequences = await connection.fetch(SEQUENCES)
    finally:
        await connection.close()
    connection = await asyncpg.connect(store.api)
    try:
        await connection.executemany(APPLIED, [tuple(row) for row in sequences])
    finally:
        await connection.close()


async def measure(events: int, directory: Path) -> list[tuple[str, object]]:
    """Fill, rebuild, and say how it went."""
    async with AsyncExitStack() as stack:
        postgres, rabbitmq = await stack.enter_async_context(standing_servers(directory))
        store = await databases.provide(postgres.url, "bench", "bench_devices")
        ring = Ring(
            directory=directory / "ring",
            databases=store,
            broker=rabbitmq.url,
            environment={"SIMULATED_LINKS_AFTER": "0.1"},
        )
        stack.push_async_callback(ring.stop)
        await ring.start()
        for number in range(SESSIONS):
            session = await ring.create_session(f"session {number}")
            await ring.wait_for_status(session["sessionId"], "working", timeout=30)
        await ring.end("projector")
        await ring.end("host-0", within=30)
        await fill(store, events // PUBLIC)
        await ring.restart("projector")
        await ring.restart("host-0")
        began = time.monotonic()
        rebuild = ring.start_rebuild()
        sizes = await memory_until_the_end(rebuild, ring.processes["host-0"])
        seconds = time.monotonic() - began
        print(*ring.log("rebuild").splitlines()[-12:], sep="\n")
        connection = await asyncpg.connect(store.api)
        messages = await connection.fetchval(
            "SELECT count(*) FROM messages WHERE status = 'delivered'"
        )
        await connection.close()
    return [
        ("public events stored", events // PUBLIC * PUBLIC),
        ("messages projected", messages),
        ("seconds, from start to end of the process", round(seconds, 1)),
        ("events a second", round(events / seconds)),
        *((f"memory of the {name}, MB: at a quarter, at most", size) for name, size in sizes),
    ]


async def memory_until_the_end(rebuild: Child, host: Child) -> list[tuple[str, object]]:
    """Resident memory while it runs, looked at four times a second."""
    seen: dict[str, list[int]] = {"rebuild": [], "host": []}
    ended = asyncio.create_task(rebuild.wait())
    while not ended.done():
        for name, child in (("rebuild", rebuild), ("host", host)):
            if (size := resident_megabytes(child.pid)) is not None:
                seen[name].append(size)
        await asyncio.sleep(0.25)
    assert await ended == 0, rebuild.last_words(40)
    return [(name, (sizes[len(sizes) // 4], max(sizes))) for name, sizes in seen.items()]


def resident_megabytes(pid: int) -> int | None:
    """What the process holds now; None if it is gone."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return None
    found = [line.split()[1] for line in status.splitlines() if line.startswith("VmRSS")]
    return int(found[0]) // 1024 if found else None


def main() -> None:
    """Run by hand."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=100_000)
    events = parser.parse_args().events
    with tempfile.TemporaryDirectory(prefix="wa-bench-", ignore_cleanup_errors=True) as directory:
        for name, value in asyncio.run(measure(events, Path(directory))):
            print(f"{name:<50} {value}")


if __name__ == "__main__":
    main()
