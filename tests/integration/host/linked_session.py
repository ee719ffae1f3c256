"""A session of the real engine that is logged in at the stand-in of WhatsApp."""

import asyncio
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

from tests.deadlines import eventually
from tests.whatsapp import StandIn
from wa_contracts.ids import SessionId
from wa_session_host.domain.observations import LoggedIn, QRShown, Seen
from wa_session_host.engine.port import Engine
from wa_session_host.engine.process.worker_engines import WorkerEngines


@dataclass
class Session:
    """The engine, what it has seen, and WhatsApp."""

    whatsapp: StandIn
    engine: Engine
    seen: list[Seen]


@asynccontextmanager
async def linked_session(directory: Path, number: str) -> AsyncIterator[Session]:
    """A session of this number, with its device store in the directory."""
    async with StandIn.start() as whatsapp:
        before = dict(os.environ)
        os.environ.update(whatsapp.engine_environment())
        engines = WorkerEngines(f"sqlite://{directory}", starts_per_second=9)
        try:
            engines.extend(time.monotonic() + 3600)
            engine = await engines.start(SessionId(UUID(int=1)), None)
            seen: list[Seen] = []

            async def observe() -> None:
                async for one in engine.observations():
                    seen.append(one)
                    if isinstance(one, QRShown):
                        await whatsapp.phone(number).scan(one.qr)

            observing = asyncio.create_task(observe())
            await eventually(lambda: any(isinstance(one, LoggedIn) for one in seen), what="login")
            yield Session(whatsapp, engine, seen)
            await engine.stop()
            observing.cancel()
        finally:
            await engines.close()
            os.environ.clear()
            os.environ.update(before)
