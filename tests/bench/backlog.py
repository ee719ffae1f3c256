"""A host that finds a long backlog: whether it drains it as quickly at its end as at its beginning."""

import asyncio
import time
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from operator import itemgetter

from tests.bench.figures import Figure
from tests.bench.installation import Servers
from tests.bench.memory import watched_memory
from tests.bench.queued import publish
from tests.bench.stored import StoredSession, store_sessions
from tests.scrape import scraped
from tests.system.ring import Ring
from wa_contracts.codec import encode
from wa_contracts.ids import CommandId, MessageId, new_id
from wa_contracts.internal.commands import MessageType, SendMessage
from wa_contracts.topology import COMMANDS, command_key, partition_of

LOOK_SECONDS = 0.1
DRAIN_SECONDS = 900
FIFTHS = 5


async def measure(servers: Servers) -> Sequence[Figure]:
    """Commands queue while no host runs; then one starts, with a projector beside it."""
    sessions, messages = (50, 2_000) if servers.short else (1_000, 100_000)
    async with servers.ring(hosts=0, apis=0) as ring:
        stored = await store_sessions(ring.databases, sessions)
        await publish(ring.broker, COMMANDS, _commands(stored, messages))
        number = await ring.add_host()
        name = f"host-{number}"
        async with watched_memory({"host": ring.processes[name].pid}) as courses:
            rates = await _drained(ring, name, messages)
            unpublished = (await scraped(ring, name)).value("wa_relay_backlog")
    return [
        Figure("backlog: rate of the last fifth ÷ the first", rates[-1] / rates[0], target=0.8),
        Figure("backlog: drained", sum(rates) / len(rates), "messages/s", rounds=rates),
        Figure("backlog: events that wait to be published when all is sent", unpublished),
        *(figure for course in courses for figure in course.figures("backlog")),
    ]


def _commands(sessions: Sequence[StoredSession], number: int) -> Iterator[tuple[str, bytes]]:
    now = datetime.now(UTC)
    for nth in range(number):
        session = sessions[nth % len(sessions)]
        id_ = MessageId(new_id())
        command = SendMessage(
            id=CommandId(id_),
            session_id=session.id,
            correlation_id=id_,
            issued_at=now,
            expires_at=now + timedelta(hours=24),
            message_id=id_,
            to="919876543210",
            message_type=MessageType.TEXT,
            text="hello",
            fingerprint=id_.hex,
            reply_on="queued",
        )
        yield command_key(partition_of(session.id)), encode(command)


async def _drained(ring: Ring, host: str, messages: int) -> list[float]:
    """How many a second were sent in each fifth of them."""
    seen = [(time.perf_counter(), 0.0)]
    async with asyncio.timeout(DRAIN_SECONDS):
        while seen[-1][1] < messages:
            await asyncio.sleep(LOOK_SECONDS)
            sent = (await scraped(ring, host)).value("wa_messages_total", outcome="sent")
            if sent == 0:
                seen.clear()
            seen.append((time.perf_counter(), sent))
    fifth = messages / FIFTHS
    moments = [_moment(seen, number * fifth) for number in range(FIFTHS + 1)]
    return [fifth / (later - earlier) for earlier, later in pairwise(moments)]


def _moment(seen: Sequence[tuple[float, float]], sent: float) -> float:
    """When so many were, on the line between the looks before and after."""
    at = max(bisect_left(seen, sent, key=itemgetter(1)), 1)
    (before, less), (after, more) = seen[at - 1 : at + 1]
    return before + (after - before) * (sent - less) / (more - less)
