"""Each service reaches what is its own, at Postgres and at RabbitMQ, and is refused everything else."""

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Any
from urllib.parse import unquote, urlsplit

import aio_pika
import aiohttp
import asyncpg
import pytest
from aio_pika.abc import AbstractChannel, AbstractIncomingMessage
from aio_pika.exceptions import ProbableAuthenticationError
from aiormq.exceptions import ChannelAccessRefused

from deploy.servers import broker_users
from deploy.servers.broker_users import BrokerUrls
from deploy.servers.databases import Databases
from deploy.servers.factory import RabbitMQServer
from deploy.servers.ports import free_port
from deploy.servers.rabbitmq import EmbeddedRabbitMQ
from tests.deadlines import eventually
from tests.infrastructure import NewBroker, NewDatabase, OwnRabbitMQ
from tests.system.conftest import NewRing
from tests.system.ring import Ring
from tests.system.test_dead_letters import publish
from wa_api.processes.set_up_broker import CannotSetUpBroker, set_up_broker
from wa_contracts.topology import (
    BUNDLES,
    COMMANDS,
    DEAD_LETTERS,
    EVENT_LOG,
    EVENTS,
    HEARTBEATS,
    LOG_MAX_AGE,
    LOG_MAX_BYTES,
    POLICIES,
    PROJECTOR,
    QUEUES,
    command_queue,
    control_queue,
)
from wa_runtime.topology_declaration import declare_topology

TO = "919876543210"
SENDS_MEDIA_BACK = "15550000005"


@pytest.fixture(scope="module")
async def databases(new_migrated_database: NewDatabase) -> Databases:
    """Both services' tables, and device keys as the engine keeps them."""
    made = await new_migrated_database()
    devices = await asyncpg.connect(made.devices)
    await devices.execute("CREATE TABLE whatsmeow_device (jid text, noise_key bytea)")
    await devices.execute("INSERT INTO whatsmeow_device VALUES ('1', 'secret')")
    await devices.close()
    return made


@pytest.mark.parametrize(
    ("role", "table"),
    [
        *(("api", f"session_host.{name}") for name in ("events", "partitions", "hosts")),
        *(("session_host", f"api.{name}") for name in ("credentials", "webhook_endpoints")),
        *(("session_host", f"api.{name}") for name in ("sessions", "messages", "feed")),
        *((role, "pg_catalog.pg_authid") for role in ("api", "session_host")),
    ],
)
async def test_no_service_reads_the_others_tables(
    databases: Databases, role: str, table: str
) -> None:
    connection = await asyncpg.connect(getattr(databases, role))
    try:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.fetch(f"SELECT * FROM {table}")
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.execute(f"DELETE FROM {table}")
    finally:
        await connection.close()


@pytest.mark.parametrize("role", ["api", "session_host"])
async def test_neither_service_reads_device_keys(databases: Databases, role: str) -> None:
    """They lie in a database of their own, which only the engine's role may enter."""
    engine = await asyncpg.connect(databases.devices)
    assert await engine.fetchval("SELECT noise_key FROM whatsmeow_device") == b"secret"
    await engine.close()
    name = databases.devices.rpartition("/")[2].partition("?")[0]
    own = getattr(databases, role)
    with pytest.raises(asyncpg.InsufficientPrivilegeError, match="permission denied for database"):
        await asyncpg.connect(own.rpartition("/")[0] + "/" + name)


TRICKS = (
    *("SET ROLE wa_devices", "SET ROLE wa_api", "SET ROLE wa_session_host", "SET ROLE postgres"),
    *("SELECT pg_read_file('/etc/passwd')", "COPY (SELECT 1) TO PROGRAM 'true'"),
    *("CREATE ROLE another", "CREATE DATABASE another"),
)


@pytest.mark.parametrize(
    ("role", "trick"),
    [
        (role, trick)
        for role in ("api", "session_host", "devices")
        for trick in TRICKS
        if trick != f"SET ROLE wa_{role}"
    ],
)
async def test_no_role_becomes_more_than_it_is(databases: Databases, role: str, trick: str) -> None:
    connection = await asyncpg.connect(getattr(databases, role))
    try:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.execute(trick)
    finally:
        await connection.close()


@pytest.fixture(scope="module")
async def brokers(rabbitmq: RabbitMQServer, new_broker: NewBroker) -> BrokerUrls:
    """A vhost with the services' users and the topology."""
    return await broker_users.provide(rabbitmq, await new_broker())


@pytest.fixture(scope="module")
async def ring(new_ring: NewRing, brokers: BrokerUrls) -> Ring:
    """A ring in which each process is at the broker what its service is."""
    return await new_ring(
        broker=brokers.administrator,
        environment={"SIMULATED_LINKS_AFTER": "0.1"},
        host_environment={"AMQP_URL": brokers.session_host},
        projector_environment={"AMQP_URL": brokers.api},
        api_environment={"AMQP_URL": brokers.api},
    )


async def test_all_works_with_a_user_for_each_service(ring: Ring, brokers: BrokerUrls) -> None:
    session = await ring.create_session("restricted")
    await ring.wait_for_status(session["sessionId"], "working")
    answer = await ring.send(session["token"], to=TO, type="text", message="hello")
    assert answer.status_code == 200, answer.text
    await ring.wait_for_message(answer.json()["id"], ("sent", "delivered", "read"))
    (ring.directory / "media").mkdir()
    (ring.directory / "media" / "a.pdf").write_bytes(b"%PDF-1.4\n%%EOF\n")
    await ring.send(session["token"], to=SENDS_MEDIA_BACK, type="document", mediaUrl="a.pdf")

    async def came_back() -> str:
        found = await ring.admin.get("/api/messages", params={"sessionId": session["sessionId"]})
        incoming = [m for m in found.json()["items"] if m["direction"] == "incoming"]
        return str(incoming[0]["id"]) if incoming else ""

    message = await eventually(came_back, what="a document arrives")
    media = await ring.admin.get(f"/api/messages/{message}/media")
    assert (media.status_code, media.content) == (200, b"%PDF-1.4\n%%EOF\n")
    await publish(ring, COMMANDS, "p7", b"no command")

    async def letters() -> list[dict[str, Any]]:
        items: list[dict[str, Any]] = (await ring.admin.get("/api/dead-letters")).json()["items"]
        return items

    (letter,) = await eventually(letters, what="a dead letter")
    again = await ring.admin.post(f"/api/dead-letters/{letter['id']}/retry")
    assert again.status_code in {200, 202, 204}, again.text
    rebuild = ring.start_rebuild({"AMQP_URL": brokers.api})
    assert await rebuild.wait() == 0, rebuild.last_words(20)


async def _publishes(channel: AbstractChannel, exchange: str) -> None:
    target = await channel.get_exchange(exchange, ensure=False)
    await target.publish(aio_pika.Message(b"x"), "nowhere", mandatory=False)


async def _ignore(_: AbstractIncomingMessage) -> None:
    return


async def _consumes(channel: AbstractChannel, queue: str) -> None:
    await channel.set_qos(prefetch_count=1)
    await (await channel.get_queue(queue, ensure=False)).consume(_ignore)


async def _binds(channel: AbstractChannel, exchange: str) -> None:
    queue = await channel.declare_queue(exclusive=True)
    await queue.bind(exchange, "#")


async def _declares(channel: AbstractChannel, name: str) -> None:
    await channel.declare_queue(name, durable=True)


async def _deletes(channel: AbstractChannel, queue: str) -> None:
    await channel.queue_delete(queue)


async def _empties(channel: AbstractChannel, queue: str) -> None:
    await (await channel.get_queue(queue, ensure=False)).purge()


Deed = Callable[[AbstractChannel, str], Awaitable[None]]
BOTH = frozenset({"api", "session_host"})
MAY: list[tuple[Deed, str, frozenset[str]]] = [
    (_publishes, COMMANDS, frozenset({"api"})),
    (_publishes, EVENTS, frozenset({"session_host"})),
    (_publishes, BUNDLES, frozenset({"session_host"})),
    (_publishes, HEARTBEATS, frozenset({"session_host"})),
    (_publishes, DEAD_LETTERS, frozenset()),
    (_publishes, "", BOTH),
    (_publishes, "amq.topic", frozenset()),
    (_consumes, command_queue(0), frozenset({"session_host"})),
    (_consumes, command_queue(63), frozenset({"session_host"})),
    (_consumes, control_queue(0), frozenset({"session_host"})),
    (_consumes, control_queue(63), frozenset({"session_host"})),
    (_consumes, PROJECTOR, frozenset({"api"})),
    (_consumes, DEAD_LETTERS, frozenset({"api"})),
    (_consumes, EVENT_LOG, frozenset()),
    (_consumes, "their.queue", frozenset()),
    (_binds, EVENTS, frozenset({"api"})),
    (_binds, BUNDLES, frozenset({"api"})),
    (_binds, HEARTBEATS, frozenset({"api"})),
    (_binds, COMMANDS, frozenset()),
    (_declares, "wa.rebuild.x", frozenset({"api"})),
    (_declares, "wa.commands.p64", frozenset()),
    (_consumes, "wa.commands.control", frozenset()),
    (_declares, "another", frozenset()),
    (_deletes, command_queue(0), frozenset()),
    (_deletes, PROJECTOR, frozenset()),
    (_empties, command_queue(0), frozenset({"session_host"})),
    (_empties, PROJECTOR, frozenset({"api"})),
]


@dataclass(frozen=True)
class Users:
    """A vhost in which nothing runs, so that what may be emptied harms nobody."""

    urls: BrokerUrls

    async def may(self, service: str, deed: Deed, name: str) -> bool:
        """Whether the broker lets it."""
        async with await aio_pika.connect(getattr(self.urls, service)) as connection:
            channel = await connection.channel()
            try:
                await deed(channel, name)
            except ChannelAccessRefused:
                return False
        return True


@pytest.fixture(scope="module")
async def users(rabbitmq: RabbitMQServer, new_broker: NewBroker) -> AsyncIterator[Users]:
    """Both users, and a queue of an event consumer beside the topology."""
    urls = await broker_users.provide(rabbitmq, await new_broker())
    async with await aio_pika.connect(urls.administrator) as connection:
        channel = await connection.channel()
        await channel.declare_queue("their.queue", durable=True)
        yield Users(urls)


@pytest.mark.parametrize(
    ("deed", "name", "allowed"), MAY, ids=lambda part: getattr(part, "__name__", None)
)
async def test_the_broker_lets_each_service_do_its_own_work_only(
    users: Users, deed: Deed, name: str, allowed: frozenset[str]
) -> None:
    assert {service for service in BOTH if await users.may(service, deed, name)} == allowed


async def test_a_queue_that_is_missing_is_named_until_it_is_set_up_again(
    rabbitmq: RabbitMQServer, new_broker: NewBroker
) -> None:
    urls = await broker_users.provide(rabbitmq, await new_broker())
    async with await aio_pika.connect(urls.administrator) as administrator:
        channel = await administrator.channel()
        await channel.queue_delete(command_queue(5))
        async with await aio_pika.connect(urls.session_host) as connection:
            with pytest.raises(
                aio_pika.exceptions.ChannelNotFoundEntity, match=r"wa\.commands\.p5"
            ):
                await declare_topology(connection)
            await broker_users.provide(rabbitmq, urls.administrator)
            await declare_topology(connection)
        await declare_topology(administrator)  # equal to what the services themselves declare


async def test_the_set_up_changes_the_limits_of_a_queue_that_exists(
    rabbitmq: RabbitMQServer, new_broker: NewBroker
) -> None:
    url = await new_broker()
    vhost = unquote(urlsplit(url).path.removeprefix("/"))
    await broker_users.provide(rabbitmq, url)
    [policy] = POLICIES
    await rabbitmq.evaluate(  # as an earlier version had it
        f'ok = rabbit_policy:set(<<"{vhost}">>, <<"{policy.name}">>, <<"{policy.pattern}">>, '
        '[{<<"max-length-bytes">>, 4711}], 0, <<"queues">>, <<"wa">>).'
    )

    async def are(*values: object) -> bool:
        """Whether the broker applies these to the log."""
        found = await rabbitmq.evaluate(
            f'{{ok, Q}} = rabbit_amqqueue:lookup(rabbit_misc:r(<<"{vhost}">>, queue, '
            f'<<"{EVENT_LOG}">>)), D = rabbit_policy:effective_definition(Q), '
            '{binary_to_list(proplists:get_value(<<"max-age">>, D, <<"none">>)), '
            'proplists:get_value(<<"max-length-bytes">>, D)}.'
        )
        assert all(str(value) in found for value in values), found
        return True

    await eventually(partial(are, "none", 4711), what="the limits of the earlier version")
    await broker_users.provide(rabbitmq, url)
    await eventually(partial(are, LOG_MAX_BYTES, LOG_MAX_AGE), what="the limits of this version")


async def test_the_command_sets_up_users_and_topology_by_the_management_interface(
    own_rabbitmq: OwnRabbitMQ,
) -> None:
    server = await own_rabbitmq()
    assert isinstance(server, EmbeddedRabbitMQ)
    port = free_port()
    await enable_management(server, port)
    password = server.url.partition("@")[0].rpartition(":")[2]
    management = f"http://wa:{password}@127.0.0.1:{port}"
    for number in (1, 2):  # again with other passwords
        words = {"api_password": f"api-{number}", "session_host_password": f"host-{number}"}
        await set_up_broker(management, **words)
        for user, word in (("wa_api", "api"), ("wa_session_host", "host")):
            url = f"amqp://{user}:{word}-{number}@127.0.0.1:{server.port}/"
            async with await aio_pika.connect(url) as connection:
                await declare_topology(connection)
    with pytest.raises(ProbableAuthenticationError):
        await aio_pika.connect(f"amqp://wa_api:api-1@127.0.0.1:{server.port}/")
    headers = {"Authorization": aiohttp.encode_basic_auth("wa", password)}
    async with (
        aiohttp.ClientSession(headers=headers) as session,
        session.get(f"http://127.0.0.1:{port}/api/queues") as answer,
    ):
        assert {queue["name"] for queue in await answer.json()} == {q.name for q in QUEUES}
    with pytest.raises(CannotSetUpBroker, match="refused the administrator"):
        await set_up_broker(
            f"http://wa:wrong@127.0.0.1:{port}", api_password="a", session_host_password="b"
        )
    with pytest.raises(CannotSetUpBroker, match="must look like"):
        await set_up_broker("wa:secret@broker", api_password="a", session_host_password="b")


async def enable_management(server: EmbeddedRabbitMQ, port: int) -> None:
    """As `rabbitmq-plugins enable rabbitmq_management`, on loopback."""
    plugins = server.directory / "enabled_plugins"
    plugins.write_text("[rabbitmq_management].\n")
    await server.evaluate(
        f"rabbit:await_startup(), application:set_env(rabbitmq_management, tcp_config, "
        f'[{{ip, "127.0.0.1"}}, {{port, {port}}}]), '
        f'{{ok, _, _}} = rabbit_plugins:ensure("{plugins}"), ok.'
    )
