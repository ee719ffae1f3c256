"""Every process is replaced, one after the other, while clients send: nobody notices."""

import asyncio
from collections import Counter
from itertools import count, cycle
from typing import Any

import httpx

from deploy.servers.children import Child
from tests.deadlines import eventually
from tests.integration.webhooks.receiver import Receiver, running_receiver
from tests.system.cluster import TO, Cluster, fair_shares
from tests.system.event_consumer import EventConsumer, consuming
from tests.system.pods import Kubelet
from tests.system.ring import Ring
from tests.system.rings import NewRing

SLOW_TO = "919876540004"
"""The simulated engine acknowledges what goes there after 2 s."""
PAUSE_SECONDS = 0.1
HOOK = "/hook"


class Service:
    """Sends through those apis that are ready, as a Service of Kubernetes does."""

    def __init__(self, ring: Ring, apis: int) -> None:
        self.answers: list[httpx.Response] = []
        self.ends = asyncio.Event()
        self._ring = ring
        self._apis = range(apis)
        self._ready = set(self._apis)
        self._turns = cycle(range(apis))

    async def replace(self, api: int, kubelet: Kubelet) -> None:
        """Lead nobody to this api from now on, then replace it."""
        self._ready.discard(api)
        await kubelet.replace(f"api-{api}")
        self._ready.add(api)

    async def send_from(self, session: dict[str, Any], to: str) -> None:
        """One message after the other until `ends`; each attempt is one that must not fail."""
        clients = [self._ring.client(session["token"], api=api) for api in self._apis]
        for number in count(1):
            if self.ends.is_set():
                return
            client = clients[next(n for n in self._turns if n in self._ready)]
            body = {"to": to, "type": "text", "message": f"{session['sessionId']} {number}"}
            self.answers.append(await client.post("/api/messages/send", json=body))
            await asyncio.sleep(PAUSE_SECONDS)


async def test_nobody_notices_that_every_process_is_replaced(new_ring: NewRing) -> None:
    ring = await new_ring(
        hosts=2,
        apis=2,
        start_process=Child.start,  # the commands of the images, from their start to their end
        environment={
            "LEASE_SECONDS": "3",
            "SIMULATED_LINKS_AFTER": "0.1",
            "SESSION_RATE_PER_MINUTE": "100000",
            "WEBHOOK_ALLOWED_HOSTS": "127.0.0.1",
        },
    )
    ring.start_webhooks()
    kubelet, service = Kubelet(ring), Service(ring, apis=2)
    async with running_receiver() as receiver, consuming(ring.broker) as consumer:
        hook = {"url": receiver.url(HOOK), "events": ["message.sent"]}
        assert (await ring.admin.post("/api/webhooks", json=hook)).status_code == 201
        cluster = Cluster(ring, ring.create_session)
        await cluster.fill(2, each=2)
        before = await cluster.connected_at()
        async with asyncio.TaskGroup() as group:
            for number, session in enumerate(cluster.sessions):
                to = SLOW_TO if number % 3 == 0 else TO
                group.create_task(service.send_from(session, to))
            await _replace_all(ring, service, kubelet)
            service.ends.set()
        after = await eventually(cluster.connected_at, what="all sessions work")
        assert sum(after[id_] != before[id_] for id_ in before) >= len(before) / 2, "none moved"
        assert Counter(a.status_code for a in service.answers if a.status_code != 202) == {
            200: sum(a.status_code == 200 for a in service.answers)
        }
        await _each_was_sent_once(service, consumer, receiver)


async def _replace_all(ring: Ring, service: Service, kubelet: Kubelet) -> None:
    """All workloads at once, as after an apply; of each one pod after the other."""

    async def hosts() -> None:
        for host in ("host-0", "host-1"):
            await kubelet.replace(host)
            await fair_shares(ring, 2)  # minReadySeconds is longer

    async def apis() -> None:
        for api in (0, 1):
            await service.replace(api, kubelet)

    async with asyncio.TaskGroup() as group:
        group.create_task(hosts())
        group.create_task(apis())
        group.create_task(kubelet.replace("projector"))
        group.create_task(kubelet.replace("webhooks"))


async def _each_was_sent_once(
    service: Service, consumer: EventConsumer, receiver: Receiver
) -> None:
    accepted = {answer.json()["id"] for answer in service.answers}
    assert len(accepted) == len(service.answers) > 100

    def all_heard() -> bool:
        sent = {e["id"]: e["data"]["id"] for e in consumer.events if e["type"] == "message.sent"}
        assert Counter(sent.values()) == Counter(accepted)
        hooked = {one.event["data"]["id"] for one in receiver.received[HOOK]}
        assert hooked == accepted
        return True

    await eventually(all_heard, what="consumers and webhooks have every message once")
    consumer.assert_gapless()
    codes = Counter(e["sessionId"] for e in consumer.events if e["type"] == "session.qr_issued")
    assert set(codes.values()) == {1}, "a session was lost: it showed another code"
