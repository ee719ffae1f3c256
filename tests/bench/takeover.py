"""A host that takes over from a killed one: how soon, and whether what is stored makes it slower."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from statistics import median
from uuid import UUID

import asyncpg
import httpx

from tests.bench.figures import Figure
from tests.bench.installation import Servers
from tests.bench.memory import resident_megabytes
from tests.bench.stored import RELAYED, StoredSession, all_work, store_sessions
from tests.deadlines import eventually
from tests.scrape import scraped
from tests.system.ring import Ring
from wa_contracts.ids import MessageId, session_stream
from wa_contracts.internal.commands import MessageType
from wa_contracts.message_events import MessageQueued, MessageSent
from wa_contracts.session_events import SessionStopped
from wa_contracts.topology import PARTITIONS, partition_of
from wa_session_host.domain.message import Content

STORED_MESSAGES, SHORT_STORED_MESSAGES = 100_000, 2_000
ROUNDS = 3
READY_SECONDS = 600
LOOK_SECONDS = 0.1
OPEN_OF_A_STOPPED_SESSION = 100
TO = "919876543210"

_FIRST = MessageId(UUID(int=0))
_NOW = datetime.now(UTC)
QUEUED = MessageQueued(
    id=_FIRST, to=TO, type=MessageType.TEXT, expires_at=_NOW + timedelta(days=30)
).model_dump_json()
SENT = MessageSent(
    id=_FIRST, message_id="3EB0" + "0" * 18, to=TO, type=MessageType.TEXT, sent_at=_NOW
).model_dump_json()
CONTENT = Content(text="Your order has been shipped. " * 4).model_dump_json()

MESSAGES = """
WITH s AS MATERIALIZED (
    SELECT session_id, partition, ordinal::int AS ordinal,
           (SELECT max(session_sequence) FROM events e WHERE e.session_id = u.session_id) AS last
    FROM unnest($1::uuid[], $2::smallint[]) WITH ORDINALITY AS u (session_id, partition, ordinal)
), m AS MATERIALIZED (
    SELECT n, 1 + n % $3::int AS ordinal, gen_random_uuid() AS id
    FROM generate_series(0, $4::int - 1) AS n
)
INSERT INTO events (partition, session_id, session_sequence, stream, stream_version, id, type,
                    version, occurred_at, correlation_id, causation_id, data, private)
SELECT partition, session_id, CASE v WHEN 2 THEN NULL ELSE last + 2 * (n / $3) + (v + 1) / 2 END,
       'message-' || m.id, v, gen_random_uuid(),
       (ARRAY['message.queued', 'message.send_started', 'message.sent'])[v], 1,
       now(), m.id, m.id,
       CASE v WHEN 1 THEN jsonb_set($6::jsonb, '{id}', to_jsonb(m.id))
              WHEN 2 THEN jsonb_build_object('started_at', now())
              ELSE jsonb_set($7::jsonb, '{id}', to_jsonb(m.id)) END,
       CASE v WHEN 1 THEN $8::jsonb END
FROM m JOIN s USING (ordinal) CROSS JOIN generate_series(1, $5::int) AS v
ORDER BY n, v
"""
STOPPED = """
INSERT INTO events (partition, session_id, session_sequence, stream, stream_version, id, type,
                    version, occurred_at, correlation_id, causation_id, data)
SELECT partition, session_id,
       1 + (SELECT max(session_sequence) FROM events e WHERE e.session_id = s.session_id),
       stream, 5, gen_random_uuid(), $4, 1, now(), session_id, session_id, $5::jsonb
FROM unnest($1::uuid[], $2::smallint[], $3::text[]) AS s (session_id, partition, stream)
"""
CAUGHT_UP = """
UPDATE checkpoints SET applied_sequence = $2, seen_sequence = $2 WHERE session_id = $1
"""
SEQUENCES = "SELECT session_id, max(session_sequence) AS last FROM events GROUP BY session_id"


@dataclass(frozen=True)
class TakeOver:
    """Seconds from a host's kill until another one announces all partitions, and what that cost."""

    seconds: float
    megabytes: float
    leases_lost: float


async def measure(servers: Servers) -> Sequence[Figure]:
    """First with sessions alone, then with messages stored and some of them open."""
    sessions, stopped = (50, 5) if servers.short else (1_000, 100)
    default = SHORT_STORED_MESSAGES if servers.short else STORED_MESSAGES
    messages = servers.stored_messages or default
    async with servers.ring(hosts=0, apis=0) as ring:
        stored = await store_sessions(ring.databases, sessions)
        working = sessions - stopped
        await _store(ring, stored[:stopped], stored[stopped:], 0)
        empty = [await _take_over(ring, working) for _ in range(ROUNDS)]
        await _store(ring, stored[:stopped], stored[stopped:], messages)
        full = [await _take_over(ring, working) for _ in range(ROUNDS)]
    waiting = stopped * OPEN_OF_A_STOPPED_SESSION
    name = f"take-over, {messages:,} messages stored, {waiting:,} open"
    held = max(one.megabytes for one in full) - max(one.megabytes for one in empty)
    times = [one.seconds for one in full]
    return [
        Figure(f"{name}: kill until all are ready", median(times), "s", 15, "less", rounds=times),
        Figure(f"{name}: leases lost", sum(one.leases_lost for one in full)),
        Figure(f"{name}: memory", max(one.megabytes for one in full), "MB"),
        Figure(f"{name}: memory an open message", held * 1024 * 1024 / waiting, "bytes"),
        Figure(
            "take-over, empty store: kill until all are ready",
            median(one.seconds for one in empty),
            "s",
            rounds=[one.seconds for one in empty],
        ),
        Figure("take-over, empty store: memory", max(one.megabytes for one in empty), "MB"),
    ]


async def _take_over(ring: Ring, working: int) -> TakeOver:
    """Kill a host that holds everything, and start another one at once."""
    since = datetime.now(UTC)
    former = await ring.add_host()
    await all_work(ring, working, since)
    since = datetime.now(UTC)
    await ring.kill_host(former, with_workers=True)
    began = time.perf_counter()
    host = f"host-{await ring.add_host()}"
    await eventually(
        lambda: _all_ready(ring, host), within=READY_SECONDS, every=LOOK_SECONDS, what="all ready"
    )
    seconds = time.perf_counter() - began
    await all_work(ring, working, since)
    megabytes = resident_megabytes(ring.processes[host].pid)
    assert megabytes is not None
    lost = (await scraped(ring, host)).value("wa_leases_lost_total")
    await ring.end(host, within=60)
    return TakeOver(seconds, megabytes, lost)


async def _all_ready(ring: Ring, host: str) -> bool:
    port = ring.processes[host].orders.env["HEALTH_PORT"]
    async with httpx.AsyncClient(timeout=10, trust_env=False) as client:
        answer = await client.get(f"http://127.0.0.1:{port}/readyz")
    return bool(answer.json()["announced"] == PARTITIONS)


async def _store(
    ring: Ring, stopped: Sequence[StoredSession], others: Sequence[StoredSession], messages: int
) -> None:
    """Stop some sessions; with `messages`, store so many sent ones, and open ones for the stopped."""
    host = await asyncpg.connect(ring.databases.session_host, command_timeout=3600)
    api = await asyncpg.connect(ring.databases.api, command_timeout=3600)
    try:
        if messages:
            waiting = len(stopped) * OPEN_OF_A_STOPPED_SESSION
            await _messages(host, stopped, waiting, versions=1)
            await host.execute("ALTER TABLE events DISABLE TRIGGER keep_open_messages")
            await _messages(host, others, messages, versions=3)
            await host.execute("ALTER TABLE events ENABLE TRIGGER keep_open_messages")
            await host.execute("ANALYZE")
        else:
            event = SessionStopped()
            streams = [session_stream(one.id) for one in stopped]
            await host.execute(
                *(STOPPED, *_columns(stopped), streams, event.TYPE, event.model_dump_json())
            )
        await host.execute(RELAYED)
        last = [(row["session_id"], row["last"]) for row in await host.fetch(SEQUENCES)]
        await api.executemany(CAUGHT_UP, last)
    finally:
        await host.close()
        await api.close()


async def _messages(
    host: "asyncpg.Connection[asyncpg.Record]",
    sessions: Sequence[StoredSession],
    number: int,
    *,
    versions: int,
) -> None:
    await host.execute(
        *(MESSAGES, *_columns(sessions), len(sessions), number, versions, QUEUED, SENT, CONTENT)
    )


def _columns(sessions: Sequence[StoredSession]) -> tuple[list[UUID], list[int]]:
    return [one.id for one in sessions], [partition_of(one.id) for one in sessions]
