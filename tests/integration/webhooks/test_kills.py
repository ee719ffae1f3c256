"""The delivering process or its database is killed in mid-traffic; a second process stands by."""

import os
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from deploy.local.services import python_module
from deploy.servers import databases
from deploy.servers.children import Child, Orders
from deploy.servers.ports import free_port
from tests.deadlines import PATIENCE_SECONDS, eventually
from tests.infrastructure import OwnPostgres
from tests.integration.api.running import KEYS, settings_for
from tests.integration.webhooks.installation import (
    IMPATIENT,
    WebhookInstallation,
    running_deliverer,
)
from tests.integration.webhooks.receiver import running_receiver
from wa_api.database.pool import Database
from wa_api.webhooks.deliveries import DeliveryStatus
from wa_runtime.migrations import migrate

Start = Callable[[], Child]
ROUNDS = 60


@pytest.fixture
async def start(installation: WebhookInstallation, tmp_path: Path) -> AsyncIterator[Start]:
    """Starts one more delivering process; all are ended with the test."""
    children: list[Child] = []

    def one_more() -> Child:
        name = f"deliverer-{len(children)}"
        environment = {
            "PATH": os.environ["PATH"],
            "DATA_DIR": str(tmp_path),
            "API_DATABASE_URL": installation.settings.api_database_url.get_secret_value(),
            "TOKEN_ENCRYPTION_KEY": KEYS.encryption.get_secret_value(),
            "HOST": "127.0.0.1",
            "WEBHOOKS_METRICS_PORT": str(free_port()),
            "WEBHOOK_ALLOWED_HOSTS": "127.0.0.1",
            "WEBHOOK_RETRY_FIRST_SECONDS": "0.1",
        }
        orders = Orders(name, python_module("wa_api", "deliver"), environment, tmp_path / name)
        children.append(Child.start(orders))
        return children[-1]

    yield one_more
    for child in children:
        await child.kill()


@asynccontextmanager
async def _traffic(
    installation: WebhookInstallation, rounds: int
) -> AsyncIterator[dict[str, list[int]]]:
    """Several sessions' events; the block runs while they are delivered. What came of each session."""
    sessions = [await installation.session() for _ in range(5)]
    endpoint = await installation.endpoint("/here", events=["message.*"])
    await installation.receive_in_turn(sessions, rounds)
    came: dict[str, list[int]] = defaultdict(list)
    yield came
    await installation.ends(endpoint, 5 * rounds, within=PATIENCE_SECONDS)
    assert {d.status for d in await installation.log(endpoint)} == {DeliveryStatus.DELIVERED}
    for request in installation.receiver.received["/here"]:
        came[request.event["sessionId"]].append(request.sequence)
    assert len(came) == 5


async def test_a_kill_twice_in_mid_traffic_loses_and_reorders_nothing(
    installation: WebhookInstallation, start: Start
) -> None:
    got = installation.receiver.received["/here"]
    async with _traffic(installation, ROUNDS) as came:
        for kill_at in (40, 120):
            child = start()
            await installation.gets("/here", kill_at, within=PATIENCE_SECONDS)
            await child.kill()
            assert len(got) < 5 * ROUNDS, "the kill came in mid-traffic"
        start()
    for sequences in came.values():
        assert sorted(set(sequences)) == list(range(2, ROUNDS + 2))
        assert sequences == sorted(sequences), "a repeat comes before what follows it"
    ids = defaultdict(set)
    for request in got:
        ids[request.event["id"]].add(request.webhook_id)
    assert all(len(of_one) == 1 for of_one in ids.values())


async def test_a_second_process_stands_by_and_takes_over(
    installation: WebhookInstallation, start: Start
) -> None:
    async with _traffic(installation, 20):
        first = start()
        await eventually(
            lambda: "webhooks_led" in first.last_words(20),
            what="the first one leads",
        )
        second = start()
        await eventually(
            lambda: "webhooks_standing_by" in second.last_words(20),
            what="it stands by",
        )
        assert "webhooks_led" not in second.last_words(20)
        await first.kill()
        await eventually(
            lambda: "webhooks_led" in second.last_words(20),
            what="the second one leads",
        )


async def test_a_kill_of_the_database_loses_and_reorders_nothing(
    own_postgres: OwnPostgres, tmp_path: Path
) -> None:
    server = await own_postgres()
    url = (await databases.provide(server.url)).api
    await migrate(url, "wa_api")
    changed = {**IMPATIENT, "webhooks_metrics_port": 0}
    settings = settings_for(url, "amqp://127.0.0.1:1/", tmp_path, **changed)
    async with (
        Database(url) as database,
        running_receiver() as receiver,
        running_deliverer(settings),
    ):
        installation = WebhookInstallation(settings, database, receiver)
        sessions = [await installation.session() for _ in range(5)]
        await installation.endpoint("/here", events=["message.*"])
        await installation.receive_in_turn(sessions, ROUNDS)
        got = await installation.gets("/here", 40)
        await server.kill()
        assert len(got) < 5 * ROUNDS, "the kill came in mid-traffic"
        await server.start()
        wanted = {(str(one), n) for one in sessions for n in range(2, ROUNDS + 2)}
        await eventually(
            lambda: {(r.event["sessionId"], r.sequence) for r in got} == wanted,
            what="all events come",
        )
    for one in sessions:
        sequences = [r.sequence for r in got if r.event["sessionId"] == str(one)]
        assert sequences == sorted(sequences), "a repeat comes before what follows it"
