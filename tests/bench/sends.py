"""Sends over HTTP, beside the bare ring, one after the other in the same run.

Clients and everything else share the machine, for both alike.
"""

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

from tests.bench.figures import Figure
from tests.bench.installation import Servers
from tests.bench.load import Caller, Processor, Run, run
from tests.bench.stored import start_host, store_sessions
from tests.system.ring import Ring

CLIENTS = 50
BODY: Mapping[str, Any] = {"to": "919876543210", "type": "text", "message": "hello"}
ASYNC = {"Prefer": "respond-async"}
TURNS_OF_ONE = 3
"""In each round: what one client measures is over sooner than a neighbour's noise."""


async def measure(servers: Servers) -> Sequence[Figure]:
    """Waiting sends of many clients and of one; accepted ones, sent meanwhile or not; processor time a message."""
    rounds, many, few = (1, 200, 17) if servers.short else (7, 2_000, 150)
    async with servers.ring(hosts=0) as ring, servers.bare_ring() as bare:
        tokens = [one.token for one in await store_sessions(ring.databases, CLIENTS)]
        host = await start_host(ring, CLIENTS)
        pids = {**servers.pids, **{name: child.pid for name, child in ring.processes.items()}}
        product = [send_through(ring, token) for token in tokens]
        bare_send = [Caller(f"{bare}/send", BODY, {})] * CLIENTS
        accept = [send_through(ring, token, ASYNC, 202) for token in tokens]
        bare_accept = [Caller(f"{bare}/accept", BODY, {}, 202)] * CLIENTS
        for callers in (product, bare_send):  # warm
            await run(callers, many // 4)
        waits = _Pair("sends that wait, 50 clients over 50 sessions")
        one = _Pair("sends that wait, one client")
        accepted = _Pair("`respond-async`, 50 clients")
        used: list[dict[str, float]] = []
        for _ in range(rounds):
            processor = Processor(pids)
            waits.product.append(await run(product, many))
            used.append({name: s / many * 1e3 for name, s in processor.since().items()})
            waits.bare.append(await run(bare_send, many))
            for _ in range(TURNS_OF_ONE):
                one.product.append(await run(product[:1], few))
                one.bare.append(await run(bare_send[:1], few))
            accepted.product.append(await run(accept, many))
            await drained(ring)
            accepted.bare.append(await run(bare_accept, many))
        await ring.end(host, within=30)
        alone = _Pair("`respond-async`, 50 clients, while no host takes them")
        for _ in range(rounds):
            alone.product.append(await run(accept, many))
            alone.bare.append(await run(bare_accept, many))
    return [
        *waits.throughput(target=0.70),
        *one.latency(target=2.0),
        *accepted.throughput(target=0.80),
        *alone.throughput(),
        *(
            Figure(
                f"processor time a message that waits: {name}",
                median(round_[name] for round_ in used),
                "ms",
                rounds=[round_[name] for round_ in used],
            )
            for name in used[0]
        ),
    ]


def send_through(
    ring: Ring, token: str, headers: Mapping[str, str] | None = None, status: int = 200
) -> Caller:
    """A client that sends through the session with that token."""
    authorization = {"Authorization": f"Bearer {token}"}
    return Caller(
        f"{ring.url()}/api/messages/send", BODY, {**authorization, **(headers or {})}, status
    )


async def drained(ring: Ring) -> None:
    """Until what was accepted has been sent: the next round begins calm."""
    answer = await ring.admin.get("/api/messages", params={"status": "queued", "limit": "1"})
    while answer.json()["items"]:
        answer = await ring.admin.get("/api/messages", params={"status": "queued", "limit": "1"})


class _Pair:
    """Rounds of the product and of the bare ring, taken by turns."""

    def __init__(self, name: str) -> None:
        self._name = name
        self.product: list[Run] = []
        self.bare: list[Run] = []

    def throughput(self, *, target: float | None = None) -> list[Figure]:
        """Answers a second."""
        return self._figures(
            [r.per_second for r in self.product], [r.per_second for r in self.bare], "/s", target, 1
        )

    def latency(self, *, target: float) -> list[Figure]:
        """The median time to an answer."""
        return self._figures(
            [r.median * 1e3 for r in self.product],
            [r.median * 1e3 for r in self.bare],
            "ms",
            target,
            -1,
        )

    def _figures(
        self, product: list[float], bare: list[float], unit: str, target: float | None, sign: int
    ) -> list[Figure]:
        ratios = [one / other for one, other in zip(product, bare, strict=True)]
        return [
            Figure(
                f"{self._name}: product ÷ bare ring",
                median(ratios),
                target=target,
                better="more" if sign > 0 else "less",
                rounds=ratios,
            ),
            Figure(f"{self._name}: product", median(product), unit, rounds=product),
            Figure(f"{self._name}: bare ring", median(bare), unit, rounds=bare),
        ]
