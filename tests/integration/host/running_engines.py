"""Engines in worker processes, as a host runs them, linked to the stand-in."""

import asyncio
import os
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from uuid import UUID

from tests.deadlines import eventually
from tests.whatsapp import StandIn
from wa_contracts.ids import SessionId
from wa_session_host.domain.observations import LinkedDevice, LoggedIn, MessageSeen, QRShown, Seen
from wa_session_host.engine.neonize.worker_memory import WorkerMemory
from wa_session_host.engine.port import Engine
from wa_session_host.engine.process.worker_engines import WorkerEngines

FIRST_NUMBER = 919_700_000_000


@asynccontextmanager
async def stand_in_for_engines() -> AsyncIterator[StandIn]:
    """A stand-in whose environment the engines of this process get."""
    async with StandIn.start() as server:
        before = dict(os.environ)
        os.environ.update(server.engine_environment())
        yield server
        os.environ.clear()
        os.environ.update(before)


@dataclass
class Running:
    """An engine and what it reported."""

    engine: Engine
    seen: list[Seen] = field(default_factory=list)

    async def logged_in(self) -> None:
        await eventually(lambda: any(isinstance(one, LoggedIn) for one in self.seen), what="login")

    async def received(self) -> None:
        await eventually(
            lambda: any(isinstance(one, MessageSeen) for one in self.seen), what="a message"
        )

    @property
    def link(self) -> LinkedDevice:
        [link] = [one for one in self.seen if isinstance(one, LinkedDevice)]
        return link


class Host:
    """Engines on a store, and what they are asked to do."""

    def __init__(
        self,
        store: str,
        whatsapp: StandIn,
        stack: AsyncExitStack,
        memory: WorkerMemory = WorkerMemory(),  # noqa: B008 - frozen
    ) -> None:
        self.engines = WorkerEngines(store, starts_per_second=50, memory=memory)
        self._whatsapp = whatsapp
        self._stack = stack

    async def start(self, number: int, link: LinkedDevice | None = None) -> Running:
        self.engines.extend(time.monotonic() + 3600)
        running = Running(await self.engines.start(SessionId(UUID(int=number)), link))

        async def observe() -> None:
            async for one in running.engine.observations():
                running.seen.append(one)
                if isinstance(one, QRShown):
                    await self._whatsapp.phone(str(FIRST_NUMBER + number)).scan(one.qr)

        observing = asyncio.create_task(observe())
        self._stack.callback(observing.cancel)
        return running
