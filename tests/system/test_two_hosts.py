"""Two hosts share the sessions: evenly, one owner each, handed over or taken over without a loss."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

import asyncpg
import httpx
import pytest

from tests.deadlines import eventually
from tests.system.conftest import NewRing
from tests.system.event_consumer import consuming
from tests.system.ring import Ring
from wa_contracts.ids import SessionId
from wa_contracts.topology import PARTITIONS, partition_of

SESSIONS_OF_A_HOST = 4
TO = "919876543210"
SLOW_TO = "919876540004"
"""The simulated engine acknowledges what goes there after 2 s."""

OWNERS = """
SELECT partition, host FROM partitions WHERE expires_at > clock_timestamp() AND host IS NOT NULL
"""


class Cluster:
    """A ring of some hosts with working sessions."""

    def __init__(self, ring: Ring) -> None:
        self.ring = ring
        self.sessions: list[dict[str, Any]] = []

    async def fill(self, hosts: int) -> None:
        """Open sessions until each host has some, and wait until all work."""
        await self.spread_over(hosts)
        owners = await self.owners()
        while True:
            shares = Counter(owners[partition_of_session(one)] for one in self.sessions)
            if len(shares) == hosts and min(shares.values()) >= SESSIONS_OF_A_HOST:
                break
            self.sessions.append(await self.ring.create_session())
        await eventually(self.connected_at, within=20, what="all sessions work")

    async def connected_at(self) -> dict[str, str]:
        """Since when each session works, if REST shows all of them as working."""
        answer = await self.ring.admin.get("/api/sessions", params={"limit": "200"})
        shown: list[dict[str, Any]] = answer.json()["items"]
        assert [one["status"] for one in shown] == ["working"] * len(self.sessions), shown
        return {one["sessionId"]: one["connectedAt"] for one in shown}

    async def owners(self) -> dict[int, str]:
        """Which host holds which partition, in the database's view."""
        connection = await asyncpg.connect(self.ring.databases.session_host)
        try:
            return {row["partition"]: row["host"] for row in await connection.fetch(OWNERS)}
        finally:
            await connection.close()

    async def spread_over(self, hosts: int) -> dict[str, str]:
        """Wait until that many hosts have equal shares; the host of each session."""

        async def even() -> dict[int, str]:
            now = await self.owners()
            assert sorted(Counter(now.values()).values()) == [PARTITIONS // hosts] * hosts, now
            return now

        now = await eventually(even, within=30, every=0.1, what=f"equal shares of {hosts} hosts")
        return {s["sessionId"]: now[partition_of_session(s)] for s in self.sessions}

    async def moved(self, ids: set[str], before: dict[str, str], within: float) -> float:
        """Wait until these sessions work anew, on another host; the seconds it took."""
        began = time.monotonic()

        async def anew() -> bool:
            now = await self.connected_at()
            assert {id_ for id_ in now if now[id_] != before[id_]} >= ids
            return True

        await eventually(anew, within=within, what=f"{len(ids)} sessions work on another host")
        return time.monotonic() - began

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


def partition_of_session(session: dict[str, Any]) -> int:
    """Where a session belongs, as the topology says."""
    return partition_of(SessionId(UUID(session["sessionId"])))


@pytest.fixture
async def cluster(new_ring: NewRing, request: pytest.FixtureRequest) -> AsyncIterator[Cluster]:
    """Hosts with this lease, in seconds, and this many of them."""
    lease_seconds, hosts = request.param
    ring = await new_ring(
        hosts=hosts,
        environment={
            "LEASE_SECONDS": str(lease_seconds),
            "SIMULATED_LINKS_AFTER": "0.1",
            "SESSION_RATE_PER_MINUTE": "100000",
        },
    )
    cluster = Cluster(ring)
    await cluster.fill(hosts)
    yield cluster
    await ring.stop()


@pytest.mark.parametrize("cluster", [(3, 1)], indirect=True)
async def test_a_host_that_comes_gets_its_share_and_hands_it_over_when_it_leaves(
    cluster: Cluster,
) -> None:
    ring = cluster.ring
    [old_host] = set((await cluster.spread_over(1)).values())
    async with consuming(ring.broker) as consumer:
        async with cluster.sending({s["sessionId"] for s in cluster.sessions[:4]}) as answers:
            await ring.add_host()
            await cluster.spread_over(2)
        assert {answer.status_code for answer in answers} == {200}

        await cluster.fill(2)
        shares = await cluster.spread_over(2)
        before = await cluster.connected_at()
        theirs = {id_ for id_, host in shares.items() if host != old_host}
        slow, *others = sorted(theirs)
        token = next(s["token"] for s in cluster.sessions if s["sessionId"] == slow)
        async with cluster.sending(set(others)) as answers, asyncio.TaskGroup() as group:
            in_flight = group.create_task(
                ring.send(token, to=SLOW_TO, type="text", message="slow", reference="slow")
            )
            await consumer.wait_for(slow, "message.queued")
            leaving = group.create_task(ring.end("host-1"))
            await cluster.moved(set(others), before, within=3)
        assert leaving.result(), "the host had to be killed"
        assert in_flight.result().status_code == 200, in_flight.result().text
        assert {answer.status_code for answer in answers} == {200}
        await cluster.moved(theirs, before, within=3)
        await cluster.spread_over(1)
        sent = [e["data"]["id"] for e in consumer.events if e["type"] == "message.sent"]
        assert len(set(sent)) == len(sent)


@pytest.mark.parametrize("cluster", [(3, 2), (10, 2)], indirect=True, ids=["lease 3", "lease 10"])
async def test_the_sessions_of_a_killed_host_work_elsewhere_soon(
    cluster: Cluster, request: pytest.FixtureRequest
) -> None:
    lease_seconds = request.node.callspec.params["cluster"][0]
    shares = await cluster.spread_over(2)
    before = await eventually(cluster.connected_at, within=10, what="all sessions work")
    async with consuming(cluster.ring.broker) as consumer:
        async with cluster.sending(set(shares)) as answers:
            began = time.monotonic()
            await cluster.ring.kill_host(1)
            survivors = await eventually(
                lambda: living(cluster), within=lease_seconds + 2, what="one host holds all"
            )
            lost = {id_ for id_, host in shares.items() if host not in survivors}
            assert len(lost) >= SESSIONS_OF_A_HOST
            left = lease_seconds + 2 - (time.monotonic() - began)
            await cluster.moved(lost, before, within=left)
        unknown = [answer for answer in answers if answer.status_code != 200]
        assert {answer.json()["code"] for answer in unknown} <= {"outcome_unknown"}
        assert len(unknown) <= len(lost)
        now = await cluster.connected_at()
        assert {id_ for id_ in now if now[id_] != before[id_]} == lost

        def all_ended() -> bool:
            ends = {"message.sent", "message.failed", "message.unknown"}
            ended = {e["id"]: e["data"]["id"] for e in consumer.events if e["type"] in ends}
            assert len(ended) == len(set(ended.values())) == len(answers)
            return True

        await eventually(all_ended, within=10, what="every answered message has ended once")


async def living(cluster: Cluster) -> set[str]:
    """The hosts that hold partitions, once it is one."""
    now = await cluster.owners()
    assert len(now) == PARTITIONS
    hosts = set(now.values())
    assert len(hosts) == 1, hosts
    return hosts
