"""Postgres and RabbitMQ start, stop, and come back after SIGKILL with what was promised."""

import asyncio
from pathlib import Path

import aio_pika
import asyncpg
import psutil
import pytest

from deploy.servers import databases
from deploy.servers.databases import Databases
from deploy.servers.postgres import EmbeddedPostgres
from deploy.servers.rabbitmq import EmbeddedRabbitMQ
from tests.infrastructure import NewBroker, OwnPostgres, OwnRabbitMQ
from wa_runtime.postgres import DATABASE_ERRORS


async def test_postgres_keeps_committed_rows_over_sigkill(own_postgres: OwnPostgres) -> None:
    server = await own_postgres()
    made = await databases.provide(server.url)
    connection = await asyncpg.connect(made.api)
    await connection.execute("CREATE TABLE kept (id int)")
    await connection.execute("INSERT INTO kept VALUES (1)")
    await server.kill()
    assert not server.running
    with pytest.raises(DATABASE_ERRORS):
        await connection.execute("INSERT INTO kept VALUES (2)")
    await server.start()
    again = await asyncpg.connect(made.api)
    assert await again.fetchval("SELECT array_agg(id) FROM kept") == [1]
    await again.close()
    await server.stop()
    assert not server.running


async def test_postgres_forgets_a_stale_pid_file(tmp_path: Path) -> None:
    server = EmbeddedPostgres(tmp_path, durable=False)
    await server.start()
    await server.kill()
    pid_file = server.cluster / "postmaster.pid"
    _, *rest = pid_file.read_text().splitlines()
    # The pid now belongs to another living process: this one.
    pid_file.write_text("\n".join([str(psutil.Process().pid), *rest]))
    await server.start()
    await server.stop()


async def test_postgres_takes_over_from_a_server_left_running(tmp_path: Path) -> None:
    left = EmbeddedPostgres(tmp_path, durable=False)
    await left.start()
    (left_pid,) = left.pids
    server = EmbeddedPostgres(tmp_path, durable=False)
    await server.start()
    assert not left.running
    assert server.pids != (left_pid,)
    await server.stop()


async def test_roles_have_no_rights_in_each_others_schema(database: Databases) -> None:
    api = await asyncpg.connect(database.api)
    host = await asyncpg.connect(database.session_host)
    devices = await asyncpg.connect(database.devices)
    try:
        await api.execute("CREATE TABLE mine (id int)")
        await host.execute("CREATE TABLE mine (id int)")
        await devices.execute("CREATE TABLE mine (id int)")
        assert await api.fetchval("SELECT count(*) FROM api.mine") == 0
        assert await host.fetchval("SELECT count(*) FROM session_host.mine") == 0
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await api.fetchval("SELECT count(*) FROM session_host.mine")
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await host.execute("INSERT INTO api.mine VALUES (1)")
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await asyncpg.connect(database.devices.replace("_devices?", "?"))
    finally:
        for connection in (api, host, devices):
            await connection.close()


async def test_rabbitmq_keeps_confirmed_messages_over_sigkill(own_rabbitmq: OwnRabbitMQ) -> None:
    server = await own_rabbitmq()
    url = await server.add_vhost("kept")
    async with await aio_pika.connect(url) as connection, connection.channel() as channel:
        queue = await channel.declare_queue(
            "kept", durable=True, arguments={"x-queue-type": "quorum"}
        )
        await channel.default_exchange.publish(aio_pika.Message(b"kept"), routing_key=queue.name)
    await server.kill()
    assert not server.running
    await server.start()
    async with asyncio.timeout(20), await aio_pika.connect(url) as connection:
        channel = await connection.channel()
        queue = await channel.get_queue("kept")
        message = await queue.get(timeout=10)
        assert message is not None
        assert message.body == b"kept"
        await message.ack()
    await server.stop()
    assert not server.running


async def test_rabbitmq_leaves_no_process_behind(tmp_path: Path) -> None:
    server = EmbeddedRabbitMQ(tmp_path)
    await server.start()
    pids = server.pids
    assert len(pids) == 2
    await server.stop()
    assert not [pid for pid in pids if psutil.pid_exists(pid)]


async def test_vhosts_are_apart(new_broker: NewBroker) -> None:
    first, second = await new_broker(), await new_broker()
    assert first != second
    async with await aio_pika.connect(first) as connection, connection.channel() as channel:
        await channel.declare_queue("only-here", durable=True)
    async with await aio_pika.connect(second) as connection, connection.channel() as channel:
        with pytest.raises(aio_pika.exceptions.ChannelNotFoundEntity):
            await channel.declare_queue("only-here", passive=True)
