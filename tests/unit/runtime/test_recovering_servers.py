"""Every process waits for a server that recovers, says so once, and ends with a sentence at most."""

import asyncio
import logging
import subprocess
from collections.abc import Iterable, Iterator, MutableMapping
from typing import Any, cast

import asyncpg
import pytest
import structlog
from pamqp import commands
from structlog.testing import capture_logs

from deploy.servers import broker_users
from deploy.servers.rabbitmq import RabbitMQRefused
from tests.deadlines import eventually
from tests.unit.runtime.recovering_servers import management, postgres, rabbitmq
from wa_api.main import main as api_main
from wa_api.processes import set_up_broker as setting_up
from wa_api.processes.set_up_broker import CannotSetUpBroker, set_up_broker
from wa_runtime import broker, retries
from wa_runtime.broker import BrokerLink
from wa_runtime.migrations import migrate
from wa_runtime.retries import connect_when_ready
from wa_session_host.main import main as host_main

STARTING = ("57P03", "the database system is starting up")
RECOVERING = ("57P03", "the database system is in recovery mode")
STOPPING = ("57P01", "terminating connection due to administrator command")
FULL = ("53300", "sorry, too many clients already")
MISSING = '{"error":"bad_request","reason":"{resources_missing,wa.events.log,{nodedown,a@b}}"}'
PASSWORDS = {"api_password": "a", "session_host_password": "b"}


@pytest.fixture(autouse=True)
def _fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retries, "FIRST_PAUSE_SECONDS", 0.0)
    monkeypatch.setattr(retries, "LONGEST_PAUSE_SECONDS", 0.01)
    monkeypatch.setattr(broker, "RECONNECT_SECONDS", 0.01)


@pytest.fixture(autouse=True)
def _logs_as_before() -> Iterator[None]:
    """A service's `main` sets up this process's logs, which other tests share."""
    root, structured = logging.getLogger(), structlog.get_config()
    handlers, level = root.handlers, root.level
    levels = {name: logging.getLogger(name).level for name in ("aiormq", "aio_pika", "uvicorn")}
    yield
    root.handlers = handlers
    root.setLevel(level)
    for name, before in levels.items():
        logging.getLogger(name).setLevel(before)
    structlog.configure(**structured)


def events(logs: Iterable[MutableMapping[str, Any]]) -> list[str]:
    return [line["event"] for line in logs]


async def test_a_command_waits_for_postgres() -> None:
    async with postgres(STARTING, RECOVERING, STOPPING, FULL) as url:
        with capture_logs() as logs:
            connection = await connect_when_ready(url, "migrate")
        connection.terminate()
    assert events(logs) == ["waiting_for_database", "available_again"]
    assert STARTING[1] in logs[0]["reason"]


async def test_a_refused_password_is_not_waited_for() -> None:
    async with postgres(("28P01", "password authentication failed")) as url:
        with pytest.raises(asyncpg.InvalidPasswordError):
            await connect_when_ready(url, "migrate")


async def test_a_wait_ends_with_the_servers_own_words() -> None:
    async with postgres(*[STARTING] * 10_000) as url:
        with pytest.raises(TimeoutError, match=r"migrate: .* 0\.2 s: the database system is start"):
            await migrate(url, "wa_api", wait_seconds=0.2)


@pytest.mark.parametrize("run", [api_main, host_main])
def test_migrations_that_waited_in_vain_end_with_a_sentence(
    run: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def in_vain(*_: object) -> None:
        raise TimeoutError("migrate: not available within 60 s: the database system is starting up")

    monkeypatch.setattr(f"{run.__module__}.migrate", in_vain)
    for service in ("API", "SESSION_HOST"):
        monkeypatch.setenv(f"{service}_DATABASE_URL", "postgresql://wa@127.0.0.1:1/wa")
    monkeypatch.setenv("DEVICE_STORE_URL", "postgresql://wa@127.0.0.1:1/wa")
    monkeypatch.setenv("AMQP_URL", "amqp://127.0.0.1:1/")
    assert run(["migrate"]) == 1
    written = capsys.readouterr().err
    assert written == "migrate: not available within 60 s: the database system is starting up\n"


NO_LEADER = commands.Connection.Close(
    541, "INTERNAL_ERROR - {resources_missing,'wa.events.log',{nodedown,a@b}}", 0, 0
)
NODE_DOWN = commands.Channel.Close(
    404, "NOT_FOUND - home node 'a@b' of durable queue 'wa.events.log' is down", 50, 10
)


@pytest.mark.parametrize("refusal", [NO_LEADER, NODE_DOWN, None], ids=["541", "404", "hang up"])
async def test_a_service_waits_for_queues_that_recover(
    refusal: commands.Connection.Close | commands.Channel.Close | None,
) -> None:
    async with rabbitmq(refusal, refusal, refusal) as url:
        link = BrokerLink(url, "test")
        with capture_logs() as logs:
            running = asyncio.create_task(link.run())
            await eventually(lambda: link.writer is not None, what="the link is open")
        running.cancel()
        await asyncio.wait([running])
    assert running.cancelled()
    assert events(logs) == ["waiting_for_broker", "broker_connected"]
    assert refusal is None or refusal.reply_text in logs[0]["reason"]


async def test_the_set_up_waits_for_queues_that_recover() -> None:
    async with management([(400, MISSING), (503, "starting"), (400, MISSING)]) as (url, taken):
        with capture_logs() as logs:
            await set_up_broker(url, **PASSWORDS)
    assert len(taken) == 1
    assert events(logs) == ["waiting_for_broker", "available_again", "broker_set_up"]
    assert "nodedown" in logs[0]["reason"]


async def test_the_set_up_ends_with_the_brokers_own_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(setting_up, "PATIENCE_SECONDS", 0.2)
    async with management([(400, MISSING)] * 10_000) as (url, _):
        with pytest.raises(CannotSetUpBroker, match="resources_missing"):
            await set_up_broker(url, **PASSWORDS)


@pytest.mark.parametrize("status", [401, 403, 404])
async def test_what_another_try_does_not_mend_ends_the_set_up_at_once(status: int) -> None:
    async with management([(status, "no")]) as (url, taken):
        with pytest.raises(CannotSetUpBroker):
            await set_up_broker(url, **PASSWORDS)
    assert taken == []


class Node:
    """The local stack's RabbitMQ, whose queues have no leader at first."""

    url = "amqp://wa:secret@127.0.0.1:5673/"

    def __init__(self, *refusals: Exception) -> None:
        self._refusals = list(refusals)
        self.taken: list[str] = []

    async def evaluate(self, expressions: str) -> str:
        if self._refusals:
            raise self._refusals.pop(0)
        self.taken.append(expressions)
        return "ok"


async def test_the_local_stack_waits_for_queues_that_recover() -> None:
    node = Node(RabbitMQRefused(MISSING), subprocess.TimeoutExpired("erl_call", 60))
    with capture_logs() as logs:
        urls = await broker_users.provide(cast("Any", node))
    assert len(node.taken) == 1
    assert urls.administrator == node.url
    assert events(logs) == ["waiting_for_broker", "available_again"]


async def test_the_local_stack_says_what_rabbitmq_does_not_take(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(broker_users, "PATIENCE_SECONDS", 0.2)
    node = Node(*[RabbitMQRefused(MISSING)] * 10_000)
    with pytest.raises(RabbitMQRefused, match="resources_missing"):
        await broker_users.provide(cast("Any", node))
