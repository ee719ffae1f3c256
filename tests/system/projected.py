"""A ring whose projections are compared with what is stored."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncpg
import httpx

from deploy.servers.databases import Databases
from tests.deadlines import eventually
from tests.faults.field import stored_events
from tests.system.cluster import fair_shares
from tests.system.event_consumer import EventConsumer
from tests.system.ring import Ring

TO = "12345678900"

SESSIONS = 6

TABLES = {
    "sessions": "SELECT * FROM sessions ORDER BY session_id",
    "messages": "SELECT * FROM messages ORDER BY id",
    "checkpoints": "SELECT * FROM checkpoints ORDER BY session_id",
    "credentials": "SELECT * FROM credentials ORDER BY session_id",
}

STATUSES = {"queued", "sent", "delivered", "failed", "unknown", "cancelled"}

Rows = dict[str, list[tuple[Any, ...]]]

FEED = """
    SELECT session_id, (event ->> 'sessionSequence')::int FROM feed ORDER BY position
"""


@dataclass
class ProjectedRing:
    """A ring with sessions that work, and an event consumer since before all of them."""

    ring: Ring
    sessions: list[dict[str, Any]]
    consumer: EventConsumer
    armed: Path
    accepted: list[str] = field(default_factory=list)
    clients: dict[str, httpx.AsyncClient] = field(default_factory=dict)

    async def send(self, number: int) -> None:
        """A text through one of the sessions, accepted at once."""
        token = self.sessions[number % SESSIONS]["token"]
        if token not in self.clients:
            self.clients[token] = self.ring.client(token)
        client = self.clients[token]
        body = {"to": TO, "type": "text", "message": f"number {number}"}
        headers = {"Prefer": "respond-async"}
        answer = await client.post("/api/messages/send", json=body, headers=headers)
        assert answer.status_code == 202, answer.text
        self.accepted.append(answer.json()["id"])

    async def send_many(self, numbers: Iterable[int]) -> None:
        """Many of them, and wait until nothing is open."""
        for number in numbers:
            await self.send(number)
        await self.quiet()

    async def quiet(self) -> None:
        """Wait until no session moves, all that is stored is projected and in the feed, and nothing
        is open.
        """
        names = [name for name in self.ring.processes if name.startswith("host-")]
        await fair_shares(self.ring, sum(self.ring.processes[name].alive for name in names))
        await self.all_work()

        async def settled() -> bool:
            stored = await stored_events(self.ring.databases)
            sequences: Counter[Any] = Counter()
            for row in stored:
                sequences[row["session_id"]] = max(
                    sequences[row["session_id"]], row["session_sequence"] or 0
                )
            rows = await rows_of(self.ring.databases)
            done = {row[0]: row[1] if row[3] is None else row[3] for row in rows["checkpoints"]}
            assert done == dict(sequences), (done, sequences)
            assert not any(row[7] == "queued" for row in rows["messages"])
            return True

        await eventually(settled, what="all is projected", every=0.2)

    async def all_work(self) -> None:
        """Wait until every session works."""
        for session in self.sessions:
            await self.ring.wait_for_status(session["sessionId"], "working")

    async def rebuild(self) -> None:
        """Run one to its end."""
        assert await self.ring.start_rebuild().wait() == 0, self.ring.log("rebuild")

    async def assert_true(self) -> None:
        """What is shown is the fold of what is stored; the feed has each event once, in order."""
        await self.quiet()
        told: dict[str, str] = {}
        for row in await stored_events(self.ring.databases):
            name = row["type"].removeprefix("message.")
            if row["type"].startswith("message.") and name in STATUSES:
                told[row["stream"].removeprefix("message-")] = name
        rows = await rows_of(self.ring.databases)
        shown = {str(row[0]): row[7] for row in rows["messages"]}
        assert shown == told
        assert set(self.accepted) <= set(shown)
        feed = await fetch(self.ring.databases, FEED)
        fed: dict[Any, list[int]] = {}
        for session_id, sequence in feed:
            fed.setdefault(session_id, []).append(sequence)
        applied = {row[0]: row[1] for row in rows["checkpoints"]}
        assert fed == {s: list(range(1, last + 1)) for s, last in applied.items()}
        self.consumer.assert_gapless()


async def fetch(databases: Databases, sql: str) -> list[tuple[Any, ...]]:
    """Rows of the api's tables."""
    connection = await asyncpg.connect(databases.api)
    try:
        return [tuple(row) for row in await connection.fetch(sql)]
    finally:
        await connection.close()


async def execute(url: str, sql: str, *values: object) -> None:
    """A statement on the tables of that role."""
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(sql, *values)
    finally:
        await connection.close()


async def rows_of(databases: Databases) -> Rows:
    """All that a rebuild makes anew, and the credentials, which it leaves alone."""
    return {table: await fetch(databases, sql) for table, sql in TABLES.items()}


@asynccontextmanager
async def following(ring: Ring, *, after: int | None = None) -> AsyncIterator[list[int]]:
    """The positions that Server-Sent Events give during the block, from now on or after one."""
    positions: list[int] = []
    ready = asyncio.Event()

    async def follow(client: httpx.AsyncClient) -> None:
        headers = {} if after is None else {"Last-Event-ID": str(after)}
        async with client.stream("GET", "/api/events", headers=headers, timeout=60) as answer:
            assert answer.status_code == 200
            position = 0
            async for line in answer.aiter_lines():
                ready.set()
                if line.startswith("id: "):  # at first alone: where the stream begins
                    position = int(line.removeprefix("id: "))
                elif line.startswith("data: "):
                    json.loads(line.removeprefix("data: "))
                    positions.append(position)

    task = asyncio.create_task(follow(ring.client(ring.admin_key)))
    try:
        await ready.wait()
        yield positions
    finally:
        task.cancel()
        await asyncio.wait({task})
