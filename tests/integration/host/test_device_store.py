"""The engines' device store: shared by all sessions, behind a pool, upgraded by one process."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from uuid import UUID

import asyncpg
import pytest
from structlog.testing import capture_logs

from deploy.servers.pgbouncer import EmbeddedPgBouncer
from tests.deadlines import eventually
from tests.infrastructure import NewDatabase
from tests.integration.host.running_engines import FIRST_NUMBER, Host, stand_in_for_engines
from tests.whatsapp import StandIn
from wa_contracts.ids import SessionId
from wa_contracts.internal.commands import MessageType
from wa_session_host.domain.observations import (
    EngineCrashed,
    LinkedDevice,
    LinkRemoved,
)
from wa_session_host.engine.port import OutgoingMessage
from wa_session_host.engine.process.device_store import CONNECTIONS_PER_ENGINE, DeviceStore

SESSIONS = 5


@pytest.fixture
async def whatsapp() -> AsyncIterator[StandIn]:
    async with stand_in_for_engines() as server:
        yield server


@pytest.fixture
async def store(new_database: NewDatabase) -> str:
    """An empty store's URL, as the engine's driver wants it."""
    return (await new_database()).devices


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


async def test_sessions_that_need_more_connections_than_there_are_are_told(store: str) -> None:
    connection = await asyncpg.connect(store.partition("?")[0])
    try:
        available = int(await connection.fetchval("SHOW max_connections"))
        await connection.execute("CREATE TABLE whatsmeow_device (jid text)")
        insert = "INSERT INTO whatsmeow_device SELECT generate_series(1, $1::int)::text"
        await connection.execute(insert, available // CONNECTIONS_PER_ENGINE)
        assert await _warned(store) == []
        await connection.execute(insert, 1)
        assert await _warned(store) == ["device_store_connections_short"]
        assert await _warned(f"{store}&binary_parameters=yes") == [], (
            "a pool shares its connections"
        )
    finally:
        await connection.close()


async def _warned(url: str) -> list[str]:
    store = DeviceStore(url)
    with capture_logs() as logs:
        await store.warn_of_connections()
    await store.close()
    return [str(line["event"]) for line in logs]


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
