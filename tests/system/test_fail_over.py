"""Several hosts share the sessions: evenly, one owner each, handed over or taken over without a loss."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest

from tests.deadlines import PATIENCE_SECONDS, eventually
from tests.system.cluster import SESSIONS_OF_A_HOST, Cluster, living
from tests.system.conftest import NewRing
from tests.system.event_consumer import consuming

SLOW_TO = "919876540004"
"""The simulated engine acknowledges what goes there after 2 s."""


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
    cluster = Cluster(ring, ring.create_session)
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
            await cluster.moved(set(others), before)
        assert leaving.result(), "the host had to be killed"
        assert in_flight.result().status_code == 200, in_flight.result().text
        assert {answer.status_code for answer in answers} == {200}
        await cluster.moved(theirs, before)
        await cluster.spread_over(1)
        sent = [e["data"]["id"] for e in consumer.events if e["type"] == "message.sent"]
        assert len(set(sent)) == len(sent)


@pytest.mark.parametrize("cluster", [(3, 2), (10, 2)], indirect=True, ids=["lease 3", "lease 10"])
async def test_the_sessions_of_a_killed_host_work_elsewhere_soon(
    cluster: Cluster, request: pytest.FixtureRequest
) -> None:
    lease_seconds = request.node.callspec.params["cluster"][0]
    shares = await cluster.spread_over(2)
    before = await eventually(cluster.connected_at, what="all sessions work")
    async with consuming(cluster.ring.broker) as consumer:
        async with cluster.sending(set(shares)) as answers:
            await cluster.ring.kill_host(1)
            survivors = await eventually(
                lambda: living(cluster),
                within=lease_seconds + PATIENCE_SECONDS,
                what="one host holds all",
            )
            lost = {id_ for id_, host in shares.items() if host not in survivors}
            assert len(lost) >= SESSIONS_OF_A_HOST
            await cluster.moved(lost, before)
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

        await eventually(all_ended, what="every answered message has ended once")


@pytest.mark.parametrize("cluster", [(3, 3)], indirect=True)
@pytest.mark.parametrize("leaves", ["killed", "ended"])
async def test_three_hosts_share_evenly_and_nobody_fights_over_a_session(
    cluster: Cluster, leaves: str
) -> None:
    ring = cluster.ring
    shares = await cluster.spread_over(3)
    before = await eventually(cluster.connected_at, what="all work")
    async with consuming(ring.broker) as consumer:
        since = datetime.now(UTC)
        if leaves == "killed":
            await ring.kill_host(1)
        else:
            await ring.end("host-1")
        await cluster.spread_over(2)
        left = set((await cluster.owners()).values())
        lost = {id_ for id_, host in shares.items() if host not in left}
        await cluster.moved(lost, before)

        once = ["session.connecting", "session.connected"]

        def moved_once() -> bool:
            changes = {  # what the new owner publishes once more is older
                id_: [
                    event["type"]
                    for event in consumer.of(id_)
                    if datetime.fromisoformat(event["occurredAt"]) >= since
                ]
                for id_ in shares
            }
            assert changes == {id_: once if id_ in lost else [] for id_ in shares}
            return True

        await eventually(moved_once, what="only what was lost moved, and that once")
    await ring.restart("host-1")
    await cluster.spread_over(3)
    await eventually(cluster.connected_at, what="all work on three hosts again")
