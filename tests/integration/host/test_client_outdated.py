"""WhatsApp refuses client versions; the real engine with another one is accepted."""

import asyncio
import os
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import pytest

from tests.deadlines import eventually
from tests.whatsapp import StandIn
from wa_contracts.ids import SessionId
from wa_contracts.internal.commands import MessageType
from wa_session_host.domain.observations import (
    ClientOutdated,
    LinkedDevice,
    LoggedIn,
    QRShown,
    Seen,
)
from wa_session_host.engine.neonize.client_version import engine_version, patched_copy
from wa_session_host.engine.neonize.client_version import shipped_library as shipped
from wa_session_host.engine.port import Engine, OutgoingMessage
from wa_session_host.engine.process.worker_engines import WorkerEngines

NUMBER, CONTACT = "919876543210", "12345678900"
SHIPPED = int(engine_version(shipped()).client.rsplit(".", 1)[1])


@dataclass
class Bench:
    """Engines of one host against the stand-in."""

    whatsapp: StandIn
    engines: WorkerEngines
    copies: Path

    async def use(self, number: int) -> None:
        """Let engines that start from now on state this version."""
        await self.engines.use(
            await asyncio.to_thread(patched_copy, shipped(), number, self.copies)
        )


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    """The shipped version is outdated."""
    async with StandIn.start() as whatsapp:
        before = dict(os.environ)
        os.environ.update(whatsapp.engine_environment())
        engines = WorkerEngines(f"sqlite://{tmp_path}", starts_per_second=20)
        engines.extend(time.monotonic() + 300)
        try:
            yield Bench(whatsapp, engines, tmp_path / "copies")
        finally:
            await engines.close()
            os.environ.clear()
            os.environ.update(before)


async def saw(engine: Engine, kind: type[Seen]) -> Seen:
    """The next observation of a kind."""
    async with asyncio.timeout(60):
        async for seen in engine.observations():
            if isinstance(seen, kind):
                return seen
    raise AssertionError(f"the engine ended without {kind.__name__}")


async def test_another_version_links_and_logs_in_where_the_shipped_one_is_refused(
    bench: Bench,
) -> None:
    bench.whatsapp.refusals.oldest_client = SHIPPED + 1
    session_id = SessionId(uuid4())
    refused = await bench.engines.start(session_id, None)
    assert await saw(refused, ClientOutdated) == ClientOutdated(bench.engines.version)
    assert bench.engines.version.client == f"2.3000.{SHIPPED}"
    await refused.stop()

    await bench.use(SHIPPED + 1)
    phone, contact = bench.whatsapp.phone(NUMBER), bench.whatsapp.contact(CONTACT)
    engine = await bench.engines.start(session_id, None)
    shown = await saw(engine, QRShown)
    assert isinstance(shown, QRShown)
    await phone.scan(shown.qr)
    device = await saw(engine, LinkedDevice)
    assert isinstance(device, LinkedDevice)
    await saw(engine, LoggedIn)
    bench.whatsapp.refusals.oldest_client = SHIPPED + 2
    await phone.drop()
    assert await saw(engine, ClientOutdated) == ClientOutdated(bench.engines.version)
    assert bench.engines.version.client == f"2.3000.{SHIPPED + 1}"
    await engine.stop()

    await bench.use(SHIPPED + 2)
    again = await bench.engines.start(session_id, device)
    await saw(again, LoggedIn)
    await again.send(OutgoingMessage(CONTACT, MessageType.TEXT, "hello", None))
    assert (await contact.receive()).text == "hello"
    assert bench.whatsapp.client_versions[-1] == f"2.3000.{SHIPPED + 2}"
    maps = Path(f"/proc/{bench.engines.worker_pids[0]}/maps").read_text()
    assert f"-{SHIPPED + 2}.so" in maps
    assert str(shipped()) not in maps
    await again.stop()


async def test_engines_that_run_keep_their_version_and_later_ones_have_the_new_one(
    bench: Bench,
) -> None:
    first = await bench.engines.start(SessionId(uuid4()), None)
    await saw(first, QRShown)
    await bench.use(SHIPPED + 5)
    second = await bench.engines.start(SessionId(uuid4()), None)
    await saw(second, QRShown)
    versions = [f"2.3000.{SHIPPED}", f"2.3000.{SHIPPED + 5}"]
    await eventually(lambda: bench.whatsapp.client_versions == versions, what="both versions")
    assert len(bench.engines.worker_pids) == 2
    await first.stop()
    await second.stop()
