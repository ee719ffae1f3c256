"""Whether a message costs more where more is stored and more sessions are: processor time of all processes."""

from collections.abc import Sequence
from statistics import median

from tests.bench.figures import Figure
from tests.bench.installation import Servers
from tests.bench.load import Caller, Processor, run
from tests.bench.sends import ASYNC, drained, send_through
from tests.bench.stored import start_host, store_sessions
from tests.system.ring import Ring

FEW_SESSIONS = 10
CLIENTS = 10
ROUNDS = 3


async def measure(servers: Servers) -> Sequence[Figure]:
    """First with little of both, then with many messages, then with many sessions too."""
    few, many, sessions, window = (
        (50, 300, 100, 50) if servers.short else (1_000, 100_000, 10_000, 1_000)
    )
    async with servers.ring(hosts=0) as ring:
        tokens = [one.token for one in await store_sessions(ring.databases, FEW_SESSIONS)]
        host = await start_host(ring, len(tokens))
        await run(_callers(ring, tokens), few, clients=CLIENTS)
        little = await _cost(servers, ring, tokens, window)
        accepted = [send_through(ring, token, ASYNC, 202) for token in tokens]
        await run(accepted, many - few - ROUNDS * window)
        await drained(ring)
        stored = await _cost(servers, ring, tokens, window)
        await ring.end(host, within=30)
        added = await store_sessions(ring.databases, sessions - FEW_SESSIONS)
        tokens += [one.token for one in added]
        await start_host(ring, len(tokens))
        await run(_callers(ring, tokens), few, clients=CLIENTS)
        crowded = await _cost(servers, ring, tokens, window)
    return [
        _ratio(f"from {few:,} to {many:,} messages", little, stored),
        _ratio(f"from {FEW_SESSIONS} to {sessions:,} sessions", stored, crowded),
        *(
            Figure(f"processor time a message, {what}", median(rounds), "ms", rounds=rounds)
            for what, rounds in (
                (f"{FEW_SESSIONS} sessions, {few:,} messages", little),
                (f"{FEW_SESSIONS} sessions, {many:,} messages", stored),
                (f"{sessions:,} sessions, {many:,} messages", crowded),
            )
        ),
    ]


def _callers(ring: Ring, tokens: Sequence[str]) -> Sequence[Caller]:
    return [send_through(ring, token) for token in tokens]


async def _cost(
    servers: Servers, ring: Ring, tokens: Sequence[str], messages: int
) -> Sequence[float]:
    """Milliseconds a message of each round, all processes together."""
    callers = _callers(ring, tokens)
    pids = {name: child.pid for name, child in ring.processes.items() if child.alive}
    costs = []
    for _ in range(ROUNDS):
        processor = Processor({**servers.pids, **pids})
        await run(callers, messages, clients=CLIENTS)
        costs.append(sum(processor.since().values()) / messages * 1e3)
    return costs


def _ratio(what: str, before: Sequence[float], after: Sequence[float]) -> Figure:
    ratio = median(after) / median(before)
    return Figure(f"processor time a message, {what}: ratio", ratio, "", 1.3, "less")
