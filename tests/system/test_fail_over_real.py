"""Hosts come and go under sessions on the real engine, which share one device store."""

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from itertools import count

import pytest

from tests.deadlines import PATIENCE_SECONDS, eventually
from tests.system.cluster import TO, Cluster, partition_of_session
from tests.system.conftest import NewRing
from tests.system.event_consumer import EventConsumer, consuming
from tests.system.linking import link, worker_of
from tests.whatsapp import Contact, Phone, StandIn

LEASE_SECONDS = int(os.environ.get("FAIL_OVER_LEASE_SECONDS", "3"))
SESSIONS_OF_A_HOST = 2


@dataclass
class LinkedCluster:
    """Two hosts, linked sessions, their phones, and an event consumer since all of them work."""

    cluster: Cluster
    contact: Contact
    phones: dict[str, Phone]
    consumer: EventConsumer

    async def shares(self) -> tuple[dict[str, str], dict[str, str]]:
        """The host of each session, and since when each works, when all is calm and both have some."""
        if not self.cluster.ring.processes["host-1"].alive:  # a failed test left it so
            await self.cluster.ring.restart("host-1")
        await self.cluster.fill(2, each=SESSIONS_OF_A_HOST)
        shares = await self.cluster.spread_over(2)
        return shares, await eventually(self.cluster.connected_at, what="all work")

    def of_second_host(self, shares: dict[str, str]) -> set[str]:
        """The sessions of host-1: its name is in its log."""
        log = self.cluster.ring.log("host-1").splitlines()
        host = [line for line in log if "session_host_started" in line][-1].split("host=")[1]
        return {id_ for id_, owner in shares.items() if owner == host.split()[0]}

    def token(self, session_id: str) -> str:
        """A session's token."""
        sessions = self.cluster.sessions
        return str(next(s["token"] for s in sessions if s["sessionId"] == session_id))

    def received(self, text: str) -> int:
        """How often the contact received a text."""
        return [one.text for one in self.contact.inbox].count(text)


@pytest.fixture(scope="module")
async def linked_cluster(new_ring: NewRing) -> AsyncIterator[LinkedCluster]:
    """One cluster for the module; every test leaves it with two hosts."""
    async with StandIn.start() as whatsapp:
        ring = await new_ring(
            hosts=2,
            engine="neonize",
            environment={"LEASE_SECONDS": str(LEASE_SECONDS)},
            host_environment=whatsapp.engine_environment(),
        )
        numbers = count(919810000000)
        phones: dict[str, Phone] = {}

        async def linked() -> dict[str, object]:
            phone = whatsapp.phone(str(next(numbers)))
            session = await link(ring, phone)
            phones[session["sessionId"]] = phone
            return session

        cluster = Cluster(ring, linked)
        async with consuming(ring.broker) as consumer:
            yield LinkedCluster(cluster, whatsapp.contact(TO), phones, consumer)
            shown = [e["sessionId"] for e in consumer.events if e["type"] == "session.qr_issued"]
            assert len(shown) == len(set(shown)), "a session needed a second QR code"
        await ring.stop()


async def test_a_host_that_ends_hands_idle_sessions_over_at_once_and_a_busy_one_after_its_ack(
    linked_cluster: LinkedCluster,
) -> None:
    cluster, ring = linked_cluster.cluster, linked_cluster.cluster.ring
    shares, before = await linked_cluster.shares()
    busy, *others = sorted(linked_cluster.of_second_host(shares))
    waits = partition_of_session({"sessionId": busy})  # as a whole, for the ack
    idle = [id_ for id_ in others if partition_of_session({"sessionId": id_}) != waits]
    phone = linked_cluster.phones[busy]
    phone.hold_acks()
    sending = asyncio.create_task(
        ring.send(linked_cluster.token(busy), to=TO, type="text", message="in flight")
    )
    await eventually(lambda: linked_cluster.received("in flight"), what="it is in flight")
    ending = asyncio.create_task(ring.end("host-1"))
    await cluster.moved(set(idle), before)
    until = time.monotonic() + LEASE_SECONDS  # no sign of life is good for longer
    while time.monotonic() < until:
        assert before[busy] == (await cluster.connected_at())[busy], "it works, until its ack"
        await asyncio.sleep(0.2)
    assert not ending.done()
    phone.release_acks()
    answer = await sending
    assert answer.status_code == 200, answer.text
    assert await ending, "the host had to be killed"
    await cluster.moved({busy, *idle}, before)
    assert linked_cluster.received("in flight") == 1
    await ring.restart("host-1")


async def test_the_sessions_of_a_killed_host_work_elsewhere_soon_without_a_qr(
    linked_cluster: LinkedCluster,
) -> None:
    cluster, ring = linked_cluster.cluster, linked_cluster.cluster.ring
    shares, before = await linked_cluster.shares()
    lost = linked_cluster.of_second_host(shares)
    await ring.kill_host(1)  # its workers are left to find out
    await cluster.moved(lost, before)
    for id_ in lost:
        answer = await ring.send(
            linked_cluster.token(id_), to=TO, type="text", message=f"after {id_}"
        )
        assert answer.status_code == 200, answer.text
    await ring.restart("host-1")


async def test_a_frozen_hosts_engines_are_gone_before_another_host_starts_them(
    linked_cluster: LinkedCluster,
) -> None:
    """Thawed, it can neither send nor store for what it lost, and takes its share anew."""
    cluster, ring = linked_cluster.cluster, linked_cluster.cluster.ring
    shares, before = await linked_cluster.shares()
    theirs = linked_cluster.of_second_host(shares)
    workers = {worker_of(ring, id_) for id_ in theirs}
    victim = min(theirs)
    linked_cluster.phones[victim].hold_acks()
    sending = asyncio.create_task(
        ring.send(linked_cluster.token(victim), to=TO, type="text", message="when it froze")
    )
    await eventually(lambda: linked_cluster.received("when it froze"), what="it is in flight")
    frozen = ring.processes["host-1"]
    frozen.signal(signal.SIGSTOP)

    async def first_taken_over() -> bool:
        now = await cluster.owners()
        return any(
            shares[id_] != now.get(partition_of_session({"sessionId": id_})) for id_ in theirs
        )

    await eventually(
        first_taken_over, within=LEASE_SECONDS + PATIENCE_SECONDS, what="another host claims"
    )
    assert not [pid for pid in workers if runs(pid)], "engines of the frozen host still run"
    await cluster.moved(theirs, before)
    linked_cluster.phones[victim].forget_acks()
    answer = await sending
    assert (answer.status_code, answer.json()["code"]) == (500, "outcome_unknown"), answer.text
    frozen.signal(signal.SIGCONT)
    await linked_cluster.shares()
    assert linked_cluster.received("when it froze") == 1
    message = await ring.wait_for_message(answer.json()["id"], "unknown")
    assert message["messageId"] is None
    for id_ in theirs:
        answer = await ring.send(
            linked_cluster.token(id_), to=TO, type="text", message=f"thawed {id_}"
        )
        assert answer.status_code == 200, answer.text


def runs(pid: int) -> bool:
    """Whether a process runs."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
