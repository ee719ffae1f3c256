"""Nothing that a run writes, publishes, answers or shows has a secret in it."""

import asyncio
import base64
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

import aio_pika
import asyncpg
import httpx
import pytest
from aio_pika.abc import AbstractIncomingMessage

from deploy.servers.children import Child
from deploy.servers.factory import PostgresServer, RabbitMQServer
from tests.deadlines import eventually
from tests.integration.webhooks.receiver import Receiver, answers, running_receiver
from tests.system.conftest import NewRing
from tests.system.ring import Ring
from tests.system.test_dead_letters import publish, unstorable_send
from wa_contracts.ids import SessionId
from wa_contracts.topology import (
    BUNDLES,
    COMMANDS,
    DEAD_LETTERS,
    EVENTS,
    HEARTBEATS,
    PARTITIONS,
    PROJECTOR,
    command_key,
    control_key,
    create_key,
    partition_of,
)

TO = "919876543210"
NAME = "a name to be found"
HEADER = "Bearer a-value-of-a-header-Zq8"
WRONG = "a-password-that-is-wrong-Zq7"


@dataclass
class Written:
    """All that was written, by where."""

    texts: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))

    def add(self, where: str, text: str | bytes) -> None:
        """One more thing that was written there."""
        self.texts[where].append(text if isinstance(text, str) else text.decode("latin-1"))

    def places_of(self, word: str) -> set[str]:
        """Where it stands, as it is, in hexadecimal digits or in base64."""
        raw = word.encode()
        forms = {word, raw.hex(), base64.b64encode(raw).decode().rstrip("=")}
        return {
            where
            for where, texts in self.texts.items()
            if any(form in text for form in forms for text in texts)
        }


@dataclass
class Run:
    """A ring in use, what it is made to keep secret, and what it wrote."""

    ring: Ring
    receiver: Receiver
    secrets: dict[str, str] = field(default_factory=dict)
    written: Written = field(default_factory=Written)

    async def ask(
        self, method: str, path: str, key: str | None, *, shows: bool = False, **request: Any
    ) -> httpx.Response:
        """A request as anybody may make it. What `shows` a secret on purpose is not looked through."""
        async with self.ring.client(key) as client:
            answer = await client.request(method, path, **request)
        if not shows:
            self.written.add("answers", f"{answer.status_code} {answer.headers}")
            self.written.add("answers" if answer.is_success else "error bodies", answer.content)
        return answer

    async def manage(self, method: str, path: str, **request: Any) -> httpx.Response:
        """A request with the admin key."""
        return await self.ask(method, path, self.ring.admin_key, **request)


@asynccontextmanager
async def tapped(ring: Ring, written: Written) -> AsyncIterator[None]:
    """Everything that goes over the broker is written down during the block."""

    async def take(message: AbstractIncomingMessage) -> None:
        where = "dead letters" if message.exchange == DEAD_LETTERS else "broker"
        written.add(where, f"{message.routing_key} {message.headers} {message.properties}")
        written.add(where, message.body)

    async with await aio_pika.connect(ring.broker) as connection:
        channel = await connection.channel()
        queue = await channel.declare_queue(exclusive=True)
        await queue.bind(EVENTS, "#")
        for exchange in (BUNDLES, HEARTBEATS, DEAD_LETTERS):
            await queue.bind(exchange, "")
        for partition in range(PARTITIONS):
            for key in (command_key, control_key, create_key):
                await queue.bind(COMMANDS, key(partition))
        await queue.consume(take, no_ack=True)
        yield


@pytest.fixture(scope="module")
async def run(
    new_ring: NewRing, postgres: PostgresServer, rabbitmq: RabbitMQServer
) -> AsyncIterator[Run]:
    """A run in which much happened, read to its end."""
    ring = await new_ring(
        start_process=Child.start,  # a forked process would show the command line of its parent
        environment={
            "SIMULATED_LINKS_AFTER": "0.1",
            "LOG_LEVEL": "DEBUG",
            "WEBHOOK_ALLOWED_HOSTS": "127.0.0.1",
            "WEBHOOK_RETRY_FIRST_SECONDS": "0.2",
        },
    )
    async with running_receiver() as receiver:
        made = Run(ring, receiver)
        made.secrets |= dict(installation_secrets(ring))
        async with tapped(ring, made.written):
            ring.start_webhooks()
            await use(made)
            await misuse(made)
            await start_with_wrong_settings(made)
        await read_metrics(made)
        read_command_lines(made)
        await read_databases(made)
        for requests in receiver.received.values():
            for request in requests:
                made.written.add("webhooks", f"{request.headers} {request.body}")
        await ring.stop()
        read_files(made, postgres, rabbitmq)
        yield made


def installation_secrets(ring: Ring) -> Iterator[tuple[str, str]]:
    """Keys and passwords that the processes were started with."""
    environment = ring.processes["api-0"].orders.env
    for name in ("ADMIN_KEY", "TOKEN_ENCRYPTION_KEY"):
        yield name, environment[name]
    for name in ("API_DATABASE_URL", "SESSION_HOST_DATABASE_URL", "DEVICE_STORE_URL", "AMQP_URL"):
        yield name, urlsplit(environment[name]).password or ""
    yield "a wrong password", WRONG


async def use(run: Run) -> None:
    """What people and programs do."""
    ring = run.ring
    created = await run.manage("POST", "/api/sessions", json={"name": NAME}, shows=True)
    session_id, first = created.json()["sessionId"], created.json()["token"]
    await ring.wait_for_status(session_id, "working")
    rotated = await run.manage("POST", f"/api/sessions/{session_id}/token", shows=True)
    token = rotated.json()["token"]
    await run.manage("GET", f"/api/sessions/{session_id}/token", shows=True)
    run.secrets |= {"a token before its rotation": first, "a token": token}
    endpoint = await run.manage(
        "POST",
        "/api/webhooks",
        json={"url": run.receiver.url("/hook"), "headers": {"X-Of-The-User": HEADER}},
        shows=True,
    )
    renewed = await run.manage("POST", f"/api/webhooks/{endpoint.json()['id']}/secret", shows=True)
    run.secrets["a webhook secret before its rotation"] = endpoint.json()["secret"]
    run.secrets["a webhook secret"] = renewed.json()["secret"]
    made = await run.manage(
        "POST", "/api/keys", json={"name": NAME, "scopes": ["messages:send"]}, shows=True
    )
    run.secrets["an API key"] = made.json()["key"]
    failing = await run.manage(
        "POST", "/api/webhooks", json={"url": run.receiver.url("/failing")}, shows=True
    )
    run.secrets["a failing webhook's secret"] = failing.json()["secret"]
    run.receiver.behaviours["/failing"] = answers(500)
    for to in (TO, "15550000000", "15550000001", "15550000002", "15550000005"):
        body = {"to": to, "type": "text", "message": "hello", "reference": "r"}
        await run.ask("POST", "/api/messages/send", token, json=body)
    named = {"to": TO, "type": "text", "message": "hello", "sessionId": session_id}
    sent = await run.ask("POST", "/api/messages/send", run.secrets["an API key"], json=named)
    assert sent.status_code == 200
    for path in ("/api/session", "/api/messages", "/readyz", "/openapi.json", "/", "/docs"):
        await run.ask("GET", path, token)
    for path in (
        "/api/sessions",
        "/api/messages",
        "/api/webhooks",
        "/api/dead-letters",
        "/api/keys",
        "/api/audit",
    ):
        await run.manage("GET", path)
    signed_in = await run.ask("POST", "/login", None, data={"key": ring.admin_key})
    cookie = signed_in.headers["set-cookie"].partition("=")[2].partition(";")[0]
    for path in ("/", f"/sessions/{session_id}"):
        page = await run.ask("GET", path, None, headers={"Cookie": f"wa_session={cookie}"})
        assert NAME in page.text
    await eventually(
        lambda: run.receiver.received["/hook"] and run.receiver.received["/failing"],
        what="webhooks go out",
    )
    second = await run.manage("POST", "/api/sessions", json={"name": "deleted"}, shows=True)
    run.secrets["a deleted session's token"] = second.json()["token"]
    await run.manage("DELETE", f"/api/sessions/{second.json()['sessionId']}")


async def misuse(run: Run) -> None:
    """What goes wrong, above all secrets in the wrong place."""
    ring, token = run.ring, run.secrets["a token"]
    body = {"to": TO, "type": "text", "message": "hello"}
    for wrong in (None, token[:-1], run.secrets["a token before its rotation"], ring.admin_key):
        answer = await run.ask("POST", "/api/messages/send", wrong, json=body)
        assert answer.status_code == 401
    for secret in (
        token,
        ring.admin_key,
        run.secrets["a webhook secret"],
        run.secrets["an API key"],
    ):
        for path in (f"/api/sessions/{secret}", f"/api/messages/{secret}", f"/{secret}"):
            await run.manage("GET", path)
        await run.ask("GET", "/api/messages", None, params={"token": secret})
        await run.manage("GET", "/api/messages", params={"cursor": secret, "limit": secret})
        await run.ask("GET", "/login", None, params={"key": f"{secret}x"})
        for spoilt in (
            {"to": secret},
            {"type": secret},
            {"mediaUrl": f"ftp://{secret}", "type": "image"},
        ):
            await run.ask("POST", "/api/messages/send", token, json={**body, **spoilt})
        await run.ask("POST", "/api/messages/send", token, content=secret)
        await run.ask(
            "POST", "/api/messages/send", token, json=body, headers={"X-Expires-In": secret}
        )
    session = (await run.ask("GET", "/api/session", token)).json()["sessionId"]
    letter = {**unstorable_send(session), "accidental": "x"}
    partition = partition_of(SessionId(UUID(session)))
    for content in (b"no JSON", str(letter).encode()):
        await publish(ring, COMMANDS, command_key(partition), content)
    await publish(ring, "", PROJECTOR, b"no JSON either")

    async def collected() -> bool:
        return len((await run.manage("GET", "/api/dead-letters")).json()["items"]) >= 3

    await eventually(collected, what="the dead letters are collected")


async def start_with_wrong_settings(run: Run) -> None:
    """Processes that cannot reach their servers, or are refused by them, and say so."""
    ring = run.ring

    def spoilt(url: str, password: str) -> str:
        parts = urlsplit(url)
        netloc = f"{parts.username}:{password}@{parts.hostname}:{parts.port}"
        return parts._replace(netloc=netloc).geturl()

    refused = spoilt(ring.broker, WRONG)
    api = await ring.add_api(
        {"AMQP_URL": refused, "API_DATABASE_URL": f"postgres//{WRONG}@:x"}, ready=False
    )
    at_the_broker = await ring.add_host({"AMQP_URL": refused}, ready=False)
    database = spoilt(ring.databases.session_host, WRONG)
    at_the_database = await ring.add_host({"SESSION_HOST_DATABASE_URL": database}, ready=False)
    starts = [
        (f"api-{api}", "waiting_for_broker"),
        (f"api-{api}", "waiting_for_database"),
        (f"host-{at_the_broker}", "waiting_for_broker"),
        (f"host-{at_the_database}", "waiting_for_database"),
    ]
    for name, word in starts:
        await says(ring, name, word)
    await asyncio.gather(*(ring.kill(name) for name in {name for name, _ in starts}))


async def says(ring: Ring, name: str, word: str) -> None:
    """Wait until a process has logged that."""
    await eventually(lambda: word in ring.log(name), what=f"{name} says {word}")


async def read_metrics(run: Run) -> None:
    """As Prometheus does."""
    names = {"api-0": "METRICS_PORT", "projector": "PROJECTOR_METRICS_PORT"}
    names |= {"webhooks": "WEBHOOKS_METRICS_PORT", "host-0": "HEALTH_PORT"}
    async with httpx.AsyncClient(trust_env=False) as client:
        for name, port in names.items():
            address = f"http://127.0.0.1:{run.ring.processes[name].orders.env[port]}/metrics"
            answer = await client.get(address)
            assert answer.status_code == 200, name
            run.written.add("metrics", answer.content)


def read_command_lines(run: Run) -> None:
    """Which every user of the machine may read."""
    for child in run.ring.processes.values():
        if child.alive:
            run.written.add("command lines", Path(f"/proc/{child.pid}/cmdline").read_bytes())


async def read_databases(run: Run) -> None:
    """Every row of every table of both services."""
    for url in (run.ring.databases.api, run.ring.databases.session_host):
        connection = await asyncpg.connect(url)
        tables = await connection.fetch(
            "SELECT schemaname, tablename FROM pg_tables WHERE tableowner = current_user"
        )
        for schema, table in tables:
            for row in await connection.fetch(f'SELECT t::text FROM {schema}."{table}" AS t'):
                run.written.add(f"table {table}", row["t"])
        await connection.close()


def read_files(run: Run, postgres: PostgresServer, rabbitmq: RabbitMQServer) -> None:
    """The data directory, logs included, and the servers' own logs."""
    for path in run.ring.directory.rglob("*"):
        if path.is_file():
            run.written.add(
                "logs" if path.suffix == ".log" else "data directory", path.read_bytes()
            )
    for server in (postgres, rabbitmq):
        directory: Path = server.directory  # type: ignore[attr-defined]
        for path in (*directory.glob("*.log"), *directory.glob("log/*")):
            run.written.add("servers' logs", path.read_bytes())


def test_no_secret_is_anywhere(run: Run) -> None:
    assert len(run.secrets) == 14
    assert all(len(secret) > 20 for secret in run.secrets.values())
    found = {name: run.written.places_of(secret) for name, secret in run.secrets.items()}
    assert {name: places for name, places in found.items() if places} == {}


def test_a_webhooks_own_headers_are_nowhere_but_in_its_requests(run: Run) -> None:
    assert run.written.places_of(HEADER) == {"webhooks"}


def test_what_may_be_there_is_found_everywhere(run: Run) -> None:
    """Otherwise the run would have looked through nothing."""
    assert run.written.places_of(NAME) >= {
        *("answers", "broker", "table feed", "table sessions", "table events"),
    }
    session = (
        next(text for text in run.written.texts["table sessions"] if NAME in text)
        .split(",")[0]
        .strip("(")
    )
    assert run.written.places_of(session) >= {
        *("logs", "answers", "dead letters", "broker", "webhooks"),
    }
    assert {"metrics", "command lines", "servers' logs", "table credentials"} <= set(
        run.written.texts
    )
    assert any("waiting_for_database" in text for text in run.written.texts["logs"])
