"""What strikes the ring while messages go through it, from a seed."""

import asyncio
import random
import signal
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from deploy.local.servers import PostgresServer, RabbitMQServer
from tests.system.ring import Ring


@dataclass(frozen=True)
class Strike:
    """One strike, from its beginning to the end of the recovery that it needs (wall clock)."""

    name: str
    began: float
    ended: float


class Strikes:
    """Strikes one after the other, with pauses."""

    def __init__(
        self, ring: Ring, postgres: PostgresServer, rabbitmq: RabbitMQServer, *, seed: int
    ) -> None:
        self._ring = ring
        self._postgres = postgres
        self._rabbitmq = rabbitmq
        self._random = random.Random(seed)
        self.done: list[Strike] = []

    async def run(self, *, pause: float, ends: asyncio.Event) -> None:
        """Strike until `ends` is set; every strike is recovered from before the next."""
        kinds: list[Callable[[], Awaitable[None]]] = [
            self.host_killed,
            self.host_frozen,
            self.projector_killed,
            self.api_killed,
            self.broker_killed,
            self.database_killed,
        ]
        while not ends.is_set():
            self._random.shuffle(kinds)
            for kind in kinds:
                if await _set_within(ends, self._random.uniform(0.5, 1.5) * pause):
                    return
                began = time.time()
                await kind()
                self.done.append(Strike(kind.__name__, began, time.time()))

    def _host(self) -> str:
        return self._random.choice([n for n in self._ring.processes if n.startswith("host-")])

    async def host_killed(self) -> None:
        """SIGKILL of a host with its workers, then a start."""
        name = self._host()
        await self._ring.kill(name)
        await self._ring.restart(name)

    async def host_frozen(self) -> None:
        """SIGSTOP beyond the lease, then SIGCONT."""
        child = self._ring.processes[self._host()]
        child.signal(signal.SIGSTOP)
        await asyncio.sleep(5)
        child.signal(signal.SIGCONT)

    async def projector_killed(self) -> None:
        """SIGKILL of the projector, then a start."""
        await self._ring.kill("projector")
        await self._ring.restart("projector")

    async def api_killed(self) -> None:
        """SIGKILL of the api, then a start."""
        await self._ring.kill("api-0")
        await self._ring.restart("api-0")

    async def broker_killed(self) -> None:
        """SIGKILL of RabbitMQ, then a start."""
        await self._rabbitmq.kill()
        await self._rabbitmq.start()

    async def database_killed(self) -> None:
        """SIGKILL of Postgres, then a start."""
        await self._postgres.kill()
        await self._postgres.start()


async def _set_within(event: asyncio.Event, seconds: float) -> bool:
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return False
    return True
