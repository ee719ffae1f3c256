"""How quickly a rebuild makes the projections from stored events, and in how much memory."""

import asyncio
import time
from collections.abc import Sequence

import asyncpg

from deploy.servers.databases import Databases
from tests.bench.figures import Figure
from tests.bench.installation import SIMULATED, Servers
from tests.bench.load import post_at_pace
from tests.bench.memory import watched_memory
from tests.bench.sends import ASYNC, send_through
from tests.bench.stored import RELAYED, start_host, store_sessions
from tests.deadlines import eventually
from tests.system.ring import Ring

SESSIONS = 50
REPLAY_SECONDS = 600
PUBLIC = 3
"""Of a message's events: queued, sent, delivered; one more, the send's start, is internal."""

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
SEQUENCES = "SELECT session_id, max(session_sequence) FROM events GROUP BY session_id"
DELIVERED = "SELECT count(*) FROM messages WHERE status = 'delivered'"
LIVE_PER_SECOND = 150
"""Messages; each is two public events here."""
APPLIED = """
UPDATE checkpoints SET applied_sequence = $2, seen_sequence = $2 WHERE session_id = $1
"""


async def measure(servers: Servers) -> Sequence[Figure]:
    """Events a second of the whole process, its start and the swap included; its memory and the host's."""
    messages = (10_000 if servers.short else 1_000_000) // PUBLIC
    async with servers.ring(hosts=0, apis=0) as ring:
        await store_sessions(ring.databases, SESSIONS)
        await fill(ring.databases, messages)
        await ring.add_host()
        began = time.monotonic()
        rebuild = ring.start_rebuild()
        pids = {"rebuild": rebuild.pid, "host": ring.processes["host-0"].pid}
        async with watched_memory(pids) as courses:
            assert await rebuild.wait() == 0, rebuild.last_words(40)
        seconds = time.monotonic() - began
        connection = await asyncpg.connect(ring.databases.api)
        assert await connection.fetchval(DELIVERED) == messages
        await connection.close()
    return [
        *await _under_traffic(servers),
        Figure("rebuild", messages * PUBLIC / seconds, "events/s", target=5000),
        *(figure for course in courses for figure in course.figures("rebuild")),
    ]


async def _under_traffic(servers: Servers) -> Sequence[Figure]:
    """Seconds from the end of the replay to the end of the process while events arrive."""
    messages = (10_000 if servers.short else 300_000) // PUBLIC
    async with servers.ring(hosts=0, environment=SIMULATED | {"LOG_LEVEL": "INFO"}) as ring:
        sessions = await store_sessions(ring.databases, SESSIONS)
        await fill(ring.databases, messages)
        await start_host(ring, SESSIONS)
        callers = [send_through(ring, one.token, ASYNC, 202) for one in sessions]
        async with asyncio.TaskGroup() as group:
            traffic = group.create_task(post_at_pace(callers, LIVE_PER_SECOND))
            replayed_at, ended_at = await _rebuilt(ring)
            traffic.cancel()
    return [
        Figure(
            f"rebuild while {2 * LIVE_PER_SECOND} events/s arrive: after the replay",
            ended_at - replayed_at,
            "s",
            target=10,
            better="less",
        )
    ]


async def _rebuilt(ring: Ring) -> tuple[float, float]:
    """When the replay of a rebuild ended, and when the process did."""
    rebuild = ring.start_rebuild()

    def replayed() -> bool:
        return "rebuild_replayed" in ring.log("rebuild")

    await eventually(replayed, within=REPLAY_SECONDS, what="all is replayed")
    replayed_at = time.monotonic()
    assert await rebuild.wait() == 0, rebuild.last_words(40)
    return replayed_at, time.monotonic()


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
