"""Whether pages, look-ups and resumed event streams cost more where more is stored."""

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from statistics import median

import asyncpg
import httpx

from tests.bench.figures import Figure
from tests.bench.installation import Servers
from tests.bench.stored import StoredSession, store_sessions
from tests.system.event_stream import following
from tests.system.ring import Ring

FEW_MESSAGES, SHORT_FEW_MESSAGES = 50_000, 1_000
STORED_MESSAGES, SHORT_STORED_MESSAGES = 500_000, 2_000
CHUNK = 100_000
HOME = "the page"
RARE_NUMBER, RARE_REFERENCE, RARE_TYPE = "447911123456", "order-1", "message.unknown"

MESSAGES = """
INSERT INTO messages (id, message_id, session_id, direction, sender, recipient, type, status,
                      reference, created_at, sent_at)
SELECT gen_random_uuid(), '3EB0' || upper(substr(md5(n::text), 1, 18)),
       ($1::uuid[])[CASE n % 2 WHEN 0 THEN 1 ELSE 1 + n % cardinality($1) END],
       CASE n % 5 WHEN 0 THEN 'incoming' ELSE 'outgoing' END,
       CASE n % 5 WHEN 0 THEN (20000000000 + n % 100003)::text END,
       CASE n % 5 WHEN 0 THEN '10000000000' ELSE (20000000000 + n % 100003)::text END,
       'text', CASE n % 5 WHEN 0 THEN 'delivered' WHEN 1 THEN 'sent' ELSE 'read' END,
       'campaign-' || n % 7, now() - (5000000 - n) * interval '0.2 seconds',
       CASE WHEN n % 5 <> 0 THEN now() - (5000000 - n) * interval '0.2 seconds' END
FROM generate_series($2::int, $3::int - 1) AS n
"""
RARE_MESSAGE = """
INSERT INTO messages (id, session_id, direction, recipient, type, status, reference, created_at)
VALUES (gen_random_uuid(), $1, 'outgoing', $2, 'text', 'failed', $3, now() - interval '29 days')
"""
EVENTS = """
INSERT INTO feed (session_id, type, event)
SELECT session_id, 'message.' || status,
       jsonb_build_object('id', id, 'type', 'message.' || status, 'version', 1, 'sessionId',
           session_id, 'occurredAt', created_at, 'data', jsonb_build_object('id', id, 'to',
           recipient, 'type', type, 'sentAt', sent_at, 'reference', reference))
FROM messages ORDER BY created_at DESC LIMIT $1
"""
RARE_EVENT = """
INSERT INTO feed (session_id, type, event)
VALUES ($1::uuid, $2::text, jsonb_build_object('type', $2::text, 'sessionId', $1::uuid))
"""


Look = Callable[[], Awaitable[object]]


async def measure(servers: Servers) -> Sequence[Figure]:
    """With few messages, then with many; the sessions are the same."""
    few, many, sessions, rounds = (
        (SHORT_FEW_MESSAGES, SHORT_STORED_MESSAGES, 50, 5)
        if servers.short
        else (FEW_MESSAGES, STORED_MESSAGES, 10_000, 50)
    )
    many = servers.stored_messages or many
    async with servers.ring(hosts=0) as ring:
        stored = await store_sessions(ring.databases, sessions)
        await _store(ring, stored, 0, few)
        little = await _measured(ring, stored[0], rounds, rare_events=1)
        await _store(ring, stored, few, many)
        much = await _measured(ring, stored[0], rounds, rare_events=2)
    shown = f"{HOME}, {sessions:,} sessions, {many:,} messages"
    return [
        *(
            _ratio(f"{what}: {many:,} ÷ {few:,} messages", little[what], much[what])
            for what in much
        ),
        Figure(shown, median(much[HOME]), "ms", 150, "less", rounds=much[HOME]),
        *(
            Figure(f"{what}, {many:,} messages", median(times), "ms", rounds=times)
            for what, times in much.items()
            if what != HOME
        ),
    ]


def _ratio(what: str, before: Sequence[float], after: Sequence[float]) -> Figure:
    return Figure(what, median(after) / median(before), "", 1.5, "less")


async def _measured(
    ring: Ring, busy: StoredSession, rounds: int, *, rare_events: int
) -> Mapping[str, Sequence[float]]:
    """Milliseconds of each look-up, all of them in each round. The first round is not counted."""
    async with httpx.AsyncClient(
        base_url=ring.url(), timeout=45, trust_env=False, follow_redirects=True
    ) as browser:
        (await browser.get("/login", params={"key": ring.admin_key})).raise_for_status()
        looks = await _looks(ring, browser, busy, rare_events)
        times: dict[str, list[float]] = {what: [] for what in looks}
        for number in range(rounds + 1):
            for what, look in looks.items():
                began = time.perf_counter()
                await look()
                if number:
                    times[what].append((time.perf_counter() - began) * 1e3)
    return times


async def _looks(
    ring: Ring, browser: httpx.AsyncClient, busy: StoredSession, rare_events: int
) -> Mapping[str, Look]:
    """Each look-up by its name; `busy` has half of the messages."""

    def page(path: str) -> Look:
        async def look() -> None:
            assert 'action="/logout"' in (await _answer(browser, path)).text, "not signed in"

        return look

    def messages(**wanted: str) -> Look:
        return lambda: _answer(ring.admin, "/api/messages", **wanted)

    async def rare() -> None:
        wanted = {"type": RARE_TYPE}
        async with following(ring.url(), ring.admin_key, last_id="1", **wanted) as stream:
            for _ in range(rare_events):
                await stream.next()

    session = str(busy.id)
    deep = await _answer(ring.admin, "/api/messages", limit="200")
    return {
        HOME: page("/"),
        "a session's page": page(f"/sessions/{session}"),
        "messages": messages(),
        "messages, cursor": messages(cursor=deep.json()["nextCursor"]),
        "messages, sessionId": messages(sessionId=session),
        "messages, status": messages(status="failed"),
        "messages, sessionId and status": messages(sessionId=session, status="failed"),
        "messages, to": messages(to=RARE_NUMBER),
        "messages, reference": messages(reference=RARE_REFERENCE),
        "messages, direction": messages(direction="incoming"),
        "messages, sessionId and to": messages(sessionId=session, to=RARE_NUMBER),
        "a rare event after an old position": rare,
    }


async def _answer(client: httpx.AsyncClient, path: str, **wanted: str) -> httpx.Response:
    answer = await client.get(path, params=wanted)
    assert answer.status_code == 200, (path, wanted, answer.status_code, answer.text[:500])
    return answer


async def _store(ring: Ring, sessions: Sequence[StoredSession], begin: int, end: int) -> None:
    """Store messages of these numbers with an event each, then one rare event."""
    ids = [one.id for one in sessions]
    api = await asyncpg.connect(ring.databases.api, command_timeout=3600)
    try:
        if begin == 0:
            await api.execute(RARE_MESSAGE, ids[-1], RARE_NUMBER, RARE_REFERENCE)
        for first in range(begin, end, CHUNK):
            size = min(CHUNK, end - first)
            await api.execute(MESSAGES, ids, first, first + size)
            await api.execute(EVENTS, size)
        await api.execute(RARE_EVENT, ids[-1], RARE_TYPE)
        await api.execute("VACUUM ANALYZE")  # as autovacuum does, but before it is measured
    finally:
        await api.close()
