"""What strikes the ring while messages go through it."""

import asyncio
import random
import signal
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.faults.field import Field

FROZEN_SECONDS = 5.0
"""Longer than the lease."""
HALF_OPEN_SECONDS = 6.0
DELAY_SECONDS = 0.1
DISTURBED_SECONDS = 3.0
NORMAL_WATERMARK = 0.6


@dataclass(frozen=True)
class Strike:
    """One strike, from its beginning to the end of the recovery that it needs (wall clock).

    `sessions` are those whose engine or owner it hit, and only their sends may end as unknown:
    None means all of them, an empty set that a strike of this kind explains no unknown outcome.
    """

    name: str
    began: float
    ended: float
    sessions: frozenset[str] | None

    def explains(self, session: str, began: float, ended: float) -> bool:
        """Whether it hit that session between these times."""
        is_hit = self.sessions is None or session in self.sessions
        return is_hit and self.overlaps(began, ended)

    def overlaps(self, began: float, ended: float) -> bool:
        """Whether it fell between these times, give or take a second."""
        return self.began - 1 <= ended and self.ended + 1 >= began


ALL = None
NONE: frozenset[str] = frozenset()
Hit = frozenset[str] | None


class Strikes:
    """One strike after the other; each is recovered from before it ends."""

    def __init__(self, field: "Field", *, seed: int = 1) -> None:
        self._field = field
        self._ring = field.ring
        self._random = random.Random(seed)
        self.done: list[Strike] = []

    @property
    def kinds(self) -> int:
        """How many kinds of strikes have fallen and were recovered from."""
        return len({strike.name for strike in self.done})

    async def strike(self, name: str) -> Strike:
        """One of `KINDS`, by its name."""
        kind: Callable[[], Awaitable[Hit]] = getattr(self, name)
        began = time.time()
        hit = await kind()
        self.done.append(Strike(name, began, time.time(), hit))
        return self.done[-1]

    async def run(self, *, pause: float, ends: asyncio.Event) -> None:
        """Strike at random until `ends` is set, each kind once before any comes again."""
        kinds = list(KINDS)
        while not ends.is_set():
            self._random.shuffle(kinds)
            for kind in kinds:
                if await _set_within(ends, self._random.uniform(0.5, 1.5) * pause):
                    return
                await self.strike(kind)

    def _host(self) -> str:
        return self._random.choice([n for n in self._ring.processes if n.startswith("host-")])

    async def host_killed(self) -> Hit:
        """SIGKILL of a host with its workers, then a start."""
        name = self._host()
        hit = await self._field.sessions_of(name)
        await self._ring.kill(name)
        await self._ring.restart(name)
        return hit

    async def host_ended(self) -> Hit:
        """SIGTERM to a host, which hands its sessions over; then a start. No send may suffer."""
        name = self._host()
        assert await self._ring.end(name), f"{name} had to be killed"
        await self._ring.restart(name)
        return NONE

    async def host_frozen(self) -> Hit:
        """SIGSTOP beyond the lease, then SIGCONT."""
        name = self._host()
        hit = await self._field.sessions_of(name)
        child = self._ring.processes[name]
        child.signal(signal.SIGSTOP)
        await asyncio.sleep(FROZEN_SECONDS)
        child.signal(signal.SIGCONT)
        return hit

    async def projector_killed(self) -> Hit:
        """SIGKILL of the projector, then a start."""
        await self._ring.kill("projector")
        await self._ring.restart("projector")
        return NONE

    async def api_killed(self) -> Hit:
        """SIGKILL of the api, then a start."""
        await self._ring.kill("api-0")
        await self._ring.restart("api-0")
        return NONE

    async def broker_killed(self) -> Hit:
        """SIGKILL of RabbitMQ, then a start."""
        await self._field.rabbitmq.kill()
        await self._field.rabbitmq.start()
        return NONE

    async def broker_blocked(self) -> Hit:
        """RabbitMQ's memory alarm blocks all who publish."""
        await self._watermark(0.0000001)
        await asyncio.sleep(DISTURBED_SECONDS)
        await self._watermark(NORMAL_WATERMARK)
        return NONE

    async def _watermark(self, share: float) -> None:
        await self._field.rabbitmq.evaluate(
            f"vm_memory_monitor:set_vm_memory_high_watermark({share:.7f})."
        )

    async def database_killed(self) -> Hit:
        """SIGKILL of Postgres, then a start. Past the lease all engines end."""
        await self._field.postgres.kill()
        await self._field.postgres.start()
        return ALL

    async def connections_cut(self) -> Hit:
        """Every connection through a proxy ends at once."""
        for wire in self._field.wires:
            wire.cut()
        return NONE

    async def connections_delayed(self) -> Hit:
        """Everything takes longer, leases included."""
        for wire in self._field.wires:
            wire.delay = DELAY_SECONDS
        hit = await self._field.sessions_of("host-1")
        await asyncio.sleep(DISTURBED_SECONDS)
        for wire in self._field.wires:
            wire.heal()
        return hit

    async def confirms_lost(self) -> Hit:
        """What the api and the host publish arrives, and the confirms of it never do."""
        for wire in (self._field.front_broker, self._field.host_broker):
            wire.mute = True
        await asyncio.sleep(1.0)
        for wire in (self._field.front_broker, self._field.host_broker):
            wire.heal()
        return NONE

    async def broker_half_open(self) -> Hit:
        """A host's connection to the broker passes nothing on, and nobody is told."""
        self._field.host_broker.half_open = True
        await asyncio.sleep(HALF_OPEN_SECONDS)
        self._field.host_broker.heal()
        return NONE

    async def database_half_open(self) -> Hit:
        """A host's connections to the database pass nothing on, for longer than its lease."""
        hit = await self._field.sessions_of("host-1")
        self._field.host_database.half_open = True
        await asyncio.sleep(HALF_OPEN_SECONDS)
        self._field.host_database.heal()
        return hit


KINDS = (
    "host_killed",
    "host_ended",
    "host_frozen",
    "projector_killed",
    "api_killed",
    "broker_killed",
    "broker_blocked",
    "database_killed",
    "connections_cut",
    "connections_delayed",
    "confirms_lost",
    "broker_half_open",
    "database_half_open",
)

CUTS_OFF_THE_BROKER = {"broker_killed", "broker_blocked", "connections_cut", "confirms_lost"}
"""After these a command may have been written without its confirm ever coming."""


async def _set_within(event: asyncio.Event, seconds: float) -> bool:
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return False
    return True
