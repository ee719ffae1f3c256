"""A real Supervisor, with its partitions, on stores and leases that a test controls."""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, NoReturn, cast

from prometheus_client import CollectorRegistry

from wa_session_host.domain.observations import ClientVersion
from wa_session_host.domain.pacing import PaceRule
from wa_session_host.metrics import HostMetrics
from wa_session_host.partitions.partition import PartitionContext
from wa_session_host.partitions.supervisor import Supervisor
from wa_session_host.sessions.context import SessionContext
from wa_session_host.sessions.tracked_message import BoundedCache
from wa_session_host.store.event_store import RelayCheckpoint
from wa_session_host.store.leases import Claim, Renewal
from wa_session_host.store.stored_event import FencingToken, StoredEvent


def now() -> datetime:
    """The clock."""
    return datetime.now(UTC)


class Store:
    """An event store whose loads begin and end when they may."""

    def __init__(self) -> None:
        self.may_load = asyncio.Event()
        self.loading = asyncio.Event()
        self.nothing: Sequence[Any] = ()
        self.loads_at_once = 0
        self.most_loads_at_once = 0
        self.saved: list[RelayCheckpoint] = []

    async def session_streams(self, partition: int) -> AsyncIterator[StoredEvent]:
        """The first read of a load: no session."""
        self.loading.set()
        self.loads_at_once += 1
        self.most_loads_at_once = max(self.most_loads_at_once, self.loads_at_once)
        try:
            await self.may_load.wait()
        finally:
            self.loads_at_once -= 1
        for one in self.nothing:
            yield one

    async def extent_after(self, _: int, after: int) -> tuple[int, int]:
        """Everything is relayed."""
        return 0, after

    async def events_after(self, *_: object) -> Sequence[StoredEvent]:
        """Everything is relayed."""
        return ()

    async def open_messages(self, partition: int) -> AsyncIterator[tuple[list[StoredEvent], int]]:
        """None."""
        for one in self.nothing:
            yield one

    async def scheduled(self, partition: int) -> tuple[dict[Any, int], datetime | None]:
        """None."""
        return {}, None

    async def save_checkpoints(self, checkpoints: Sequence[RelayCheckpoint]) -> None:
        """Remember them."""
        self.saved += checkpoints


class Writer:
    """Runs until it is cancelled, which a test sees."""

    def __init__(self) -> None:
        self.is_running = False

    async def run(self) -> NoReturn:
        """Until cancelled."""
        self.is_running = True
        try:
            await asyncio.Event().wait()
        finally:
            self.is_running = False
        raise AssertionError("unreachable")

    def open_partition(self, *_: object) -> None:
        """Accept."""

    def close_partition(self, *_: object) -> None:
        """Accept."""


@dataclass
class FakeLeases:
    """Grants the claims once, and every renewal."""

    claims: Sequence[Claim]
    fair_share: int = 64
    released: list[int] = field(default_factory=list)
    renewed: list[frozenset[int]] = field(default_factory=list)

    async def renew(self, held: Mapping[int, FencingToken], *, staying: bool = True) -> Renewal:
        """All that are held, for ten seconds."""
        self.renewed.append(frozenset(held))
        return Renewal(frozenset(held), time.monotonic() + 10, self.fair_share)

    async def claim(self, limit: int) -> Sequence[Claim]:
        """What is left of the claims."""
        claims, self.claims = self.claims, ()
        return claims

    async def deregister(self) -> None:
        """Accept."""

    async def release(self, partition: int, token: FencingToken) -> None:
        """Remember it."""
        self.released.append(partition)


class Outbox:
    """Sends heartbeats to nobody."""

    async def publish_heartbeat(self, heartbeat: object) -> None:
        """Accept."""


class Unreachable:
    """A broker link that never opens."""

    async def wait_open(self) -> NoReturn:
        """Until cancelled."""
        await asyncio.Event().wait()
        raise AssertionError("unreachable")


async def _nothing_removed(*_: object) -> int:
    return 0


class NothingKept:
    """Media keeping of sessions that keep none."""

    async def run(self, *_: object) -> None:
        """Nothing to do."""


@dataclass
class Host:
    """The parts of a host that a test looks at."""

    supervisor: Supervisor
    store: Store
    writer: Writer
    leases: FakeLeases
    stop: asyncio.Event
    running: "asyncio.Task[None]"


@asynccontextmanager
async def running_host(*claims: Claim, fair_share: int = 64) -> AsyncIterator[Host]:
    """A host that holds these partitions, until the block ends."""
    store, writer, stop = Store(), Writer(), asyncio.Event()
    leases = FakeLeases(claims, fair_share)
    version = ClientVersion("engine 1", "2.3000.1")
    engines = SimpleNamespace(extend=lambda _: None, version=version)
    session = SessionContext(
        writer=cast("Any", writer),
        store=cast("Any", store),
        engines=cast("Any", engines),
        media=cast("Any", None),
        incoming_media=cast("Any", None),
        clock=now,
        metrics=HostMetrics(CollectorRegistry()),
        sent_messages=BoundedCache(10),
        contents=BoundedCache(1000),
        pace=PaceRule(),
        login_seconds=30,
        retention=timedelta(days=30),
    )
    context = PartitionContext(
        session=session,
        outbox=cast("Any", Outbox()),
        retention=cast("Any", SimpleNamespace(remove=_nothing_removed)),
        media_transfer=cast("Any", None),
        media_keeping=cast("Any", NothingKept()),
        queue_limit=10,
        queue_max_bytes=1000,
    )
    supervisor = Supervisor(
        "host-a",
        leases=cast("Any", leases),
        context=context,
        commands=cast("Any", Unreachable()),
        lease_seconds=10,
        stop=stop,
    )
    running = asyncio.create_task(supervisor.run())
    try:
        yield Host(supervisor, store, writer, leases, stop, running)
    finally:
        running.cancel()
        await asyncio.wait([running])


def claim(partition: int, *, relayed: int = 0) -> Claim:
    """A partition with the checkpoint of its former owner."""
    return Claim(partition, FencingToken(1), relayed)
