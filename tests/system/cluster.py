"""Several hosts and their sessions, as tests of fail-over see them."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

import asyncpg
import httpx

from tests.deadlines import eventually
from tests.system.ring import Ring
from wa_contracts.ids import SessionId
from wa_contracts.topology import PARTITIONS, partition_of

SESSIONS_OF_A_HOST = 4
TO = "919876543210"

OWNERS = """
SELECT partition, host FROM partitions WHERE expires_at > clock_timestamp() AND host IS NOT NULL
"""


class Cluster:
    """A ring of some hosts with working sessions, which `opens` makes."""

    def __init__(self, ring: Ring, opens: Callable[[], Awaitable[dict[str, Any]]]) -> None:
        self.ring = ring
        self.sessions: list[dict[str, Any]] = []
        self._opens = opens

    async def fill(self, hosts: int, each: int = SESSIONS_OF_A_HOST) -> None:
        """Open sessions until each host has so many, and wait until all work."""
        await self.spread_over(hosts)
        owners = await self.owners()
        while True:
            shares = Counter(owners[partition_of_session(one)] for one in self.sessions)
            if len(shares) == hosts and min(shares.values()) >= each:
                break
            self.sessions.append(await self._opens())
        await eventually(self.connected_at, what="all sessions work")

    async def connected_at(self) -> dict[str, str]:
        """Since when each session works, if REST shows all of them as working."""
        answer = await self.ring.admin.get("/api/sessions", params={"limit": "200"})
        shown: list[dict[str, Any]] = answer.json()["items"]
        assert [one["status"] for one in shown] == ["working"] * len(self.sessions), shown
        return {one["sessionId"]: one["connectedAt"] for one in shown}

    async def owners(self) -> dict[int, str]:
        """Which host holds which partition, in the database's view."""
        return await owners_in(self.ring)

    async def spread_over(self, hosts: int) -> dict[str, str]:
        """Wait until that many hosts have fair shares; the host of each session."""
        now = await fair_shares(self.ring, hosts)
        return {s["sessionId"]: now[partition_of_session(s)] for s in self.sessions}

    async def moved(self, ids: set[str], before: dict[str, str]) -> None:
        """Wait until these sessions work anew, on another host (`make bench` measures the time)."""

        async def anew() -> bool:
            now = await self.connected_at()
            assert {id_ for id_ in now if now[id_] != before[id_]} >= ids
            return True

        what = f"{len(ids)} sessions work on another host"
        await eventually(anew, what=what)

    @asynccontextmanager
    async def sending(self, ids: set[str]) -> AsyncIterator[list[httpx.Response]]:
        """Send from each of these sessions, one text after the other, during the block."""
        answers: list[httpx.Response] = []
        ends = asyncio.Event()

        async def send_from(session: dict[str, Any]) -> None:
            client = self.ring.client(session["token"])
            while not ends.is_set():
                body = {"to": TO, "type": "text", "message": "hello"}
                answers.append(await client.post("/api/messages/send", json=body))

        async with asyncio.TaskGroup() as group:
            for session in self.sessions:
                if session["sessionId"] in ids:
                    group.create_task(send_from(session))
            yield answers
            ends.set()


async def owners_in(ring: Ring) -> dict[int, str]:
    """Which host holds which partition, in the database's view."""
    connection = await asyncpg.connect(ring.databases.session_host)
    try:
        return {row["partition"]: row["host"] for row in await connection.fetch(OWNERS)}
    finally:
        await connection.close()


async def fair_shares(ring: Ring, hosts: int) -> dict[int, str]:
    """Wait until so many hosts hold everything in fair shares; the host of each partition."""
    most = -(-PARTITIONS // hosts)

    async def even() -> dict[int, str]:
        now = await owners_in(ring)
        shares = Counter(now.values())
        assert len(now) == PARTITIONS, shares
        assert len(shares) == hosts, shares
        assert max(shares.values()) <= most, shares
        return now

    return await eventually(even, every=0.1, what=f"fair shares of {hosts} hosts")


def partition_of_session(session: dict[str, Any]) -> int:
    """Where a session belongs, as the topology says."""
    return partition_of(SessionId(UUID(str(session["sessionId"]))))


async def living(cluster: Cluster) -> set[str]:
    """The hosts that hold partitions, once it is one."""
    now = await cluster.owners()
    assert len(now) == PARTITIONS
    hosts = set(now.values())
    assert len(hosts) == 1, hosts
    return hosts
