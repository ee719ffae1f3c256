"""The engines' device store: shared by all sessions, behind a pool, upgraded by one process."""

import asyncio
import os
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID

import asyncpg
import pytest

from deploy.servers.pgbouncer import EmbeddedPgBouncer
from tests.deadlines import eventually
from tests.infrastructure import NewDatabase
from tests.whatsapp import StandIn
from wa_contracts.ids import SessionId
from wa_contracts.internal.commands import MessageType
from wa_session_host.domain.observations import (
    EngineCrashed,
    LinkedDevice,
    LinkRemoved,
    LoggedIn,
    MessageSeen,
    QRShown,
    Seen,
)
from wa_session_host.engine.port import Engine, OutgoingMessage
from wa_session_host.engine.process.device_store import DeviceStore
from wa_session_host.engine.process.worker_engines import WorkerEngines

FIRST_NUMBER = 919_700_000_000
SESSIONS = 5


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


@pytest.fixture
async def whatsapp() -> AsyncIterator[StandIn]:
    async with StandIn.start() as server:
        before = dict(os.environ)
        os.environ.update(server.engine_environment())
        yield server
        os.environ.clear()
        os.environ.update(before)


@pytest.fixture
async def store(new_database: NewDatabase) -> str:
    """An empty store's URL, as the engine's driver wants it."""
    return (await new_database()).devices


class Host:
    """Engines on a store, and what they are asked to do."""

    def __init__(self, store: str, whatsapp: StandIn, stack: AsyncExitStack) -> None:
        self.engines = WorkerEngines(store, starts_per_second=50)
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


async def test_sessions_link_restart_send_and_receive_through_a_pool(
    whatsapp: StandIn, store: str, tmp_path: Path
) -> None:
    async with AsyncExitStack() as stack:
        pool = EmbeddedPgBouncer(tmp_path / "pool", store)
        stack.push_async_callback(pool.stop)
        await pool.start()
        host = Host(pool.url, whatsapp, stack)
        stack.push_async_callback(host.engines.close)
        await host.engines.prepare()
        linked = [await host.start(number) for number in range(SESSIONS)]
        await asyncio.gather(*(one.logged_in() for one in linked))
        await asyncio.gather(*(one.engine.stop() for one in linked))
        restored = [await host.start(at, one.link) for at, one in enumerate(linked)]
        await asyncio.gather(*(one.logged_in() for one in restored))
        contact = whatsapp.contact("12345670000")
        for at, one in enumerate(restored):
            number = str(FIRST_NUMBER + at)
            await one.engine.send(OutgoingMessage(contact.number, MessageType.TEXT, str(at), None))
            assert (await contact.receive()).text == str(at)
            await contact.send_text(number, f"to {at}")
            await one.received()
        assert await _server_connections(store) <= SESSIONS  # two each without the pool
        await asyncio.gather(*(one.engine.stop() for one in restored))


async def test_two_hosts_create_an_empty_store_once(whatsapp: StandIn, store: str) -> None:
    async with AsyncExitStack() as stack:
        hosts = [Host(store, whatsapp, stack) for _ in range(2)]
        for host in hosts:
            stack.push_async_callback(host.engines.close)
        await asyncio.gather(*(host.engines.prepare() for host in hosts))
        begun = [await hosts[number % 2].start(number) for number in range(6)]
        await asyncio.gather(*(one.logged_in() for one in begun))
        assert not [one for run in begun for one in run.seen if isinstance(one, EngineCrashed)]
        await asyncio.gather(*(one.engine.stop() for one in begun))


@pytest.mark.parametrize("merges", [False, True])
async def test_workers_memory_is_offered_for_merging_only_if_asked(
    tmp_path: Path, merges: bool
) -> None:
    engines = WorkerEngines(f"sqlite://{tmp_path}", starts_per_second=50, merges_memory=merges)
    try:
        engines.extend(time.monotonic() + 60)
        engine = await engines.start(SessionId(UUID(int=1)), None)
        state = Path(f"/proc/{engine.pid}/ksm_stat")
        if not state.exists():
            pytest.skip("This kernel does not tell whether a process's memory may be merged.")
        maps = Path(f"/proc/{engine.pid}/maps")
        await eventually(lambda: "neonize-" in maps.read_text(), what="the library is loaded")
        assert ("ksm_merge_any: yes" in state.read_text()) is merges
        await engine.stop()
    finally:
        await engines.close()


async def test_a_device_that_the_store_lost_is_a_removed_link(
    whatsapp: StandIn, store: str
) -> None:
    async with AsyncExitStack() as stack:
        host = Host(store, whatsapp, stack)
        stack.push_async_callback(host.engines.close)
        await host.engines.prepare()
        link = LinkedDevice(jid=f"{FIRST_NUMBER}:7@s.whatsapp.net", phone_number=str(FIRST_NUMBER))
        running = await host.start(0, link)
        await eventually(lambda: LinkRemoved() in running.seen, what="the link is removed")
        await running.engine.stop()


async def test_a_store_that_does_not_answer_is_no_removed_link() -> None:
    store = DeviceStore("postgresql://wa_devices:x@127.0.0.1:1/wa_devices?sslmode=disable")
    link = LinkedDevice(jid="919876543210:1@s.whatsapp.net", phone_number="919876543210")
    assert await store.has(SessionId(UUID(int=1)), link)
    await store.close()


@pytest.mark.parametrize("made", [False, True])
async def test_a_file_of_a_session_tells_which_device_it_has(tmp_path: Path, made: bool) -> None:
    store = DeviceStore(f"sqlite://{tmp_path}")
    session, link = SessionId(UUID(int=1)), LinkedDevice("9:1@s.whatsapp.net", "9")
    if made:
        Path(store.url_of(session)).touch()
    assert not await store.has(session, link)


async def _server_connections(store: str) -> int:
    """Of the store's database, without this one."""
    connection = await asyncpg.connect(store)
    try:
        found = await connection.fetchval(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
        )
        return int(found) - 1
    finally:
        await connection.close()
