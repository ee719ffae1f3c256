"""How much dead endpoints delay those that answer.

`python -m tests.bench.webhooks`: a Postgres and a delivering process of its own, with the default
settings; the receiver is here. 200 endpoints for a session each, 20 of them dead (some hang, some
answer 500, some are not there), 5,000 events; beside it the same without the dead ones. What is
measured is the time from the first event in the feed to the last one at an endpoint that answers.
"""

import argparse
import asyncio
import os
import shutil
import statistics
import tempfile
import time
from contextlib import AsyncExitStack
from pathlib import Path

from deploy.local.services import python_module
from deploy.servers import databases, factory
from deploy.servers.children import Child, Orders
from deploy.servers.ports import free_port
from tests.deadlines import eventually
from tests.integration.api.running import KEYS, settings_for
from tests.integration.webhooks.installation import OPERATOR, WebhookInstallation
from tests.integration.webhooks.receiver import Receiver, answers, hangs, running_receiver
from wa_api.database.pool import Database
from wa_runtime.migrations import migrate


async def run(postgres: str, directory: Path, asked: argparse.Namespace, *, dead: int) -> float:
    """One installation from its beginning to the last delivery that can be made; the seconds."""
    name = f"bench_{time.monotonic_ns()}"
    stored = await databases.provide(postgres, name, f"{name}_devices")
    await migrate(stored.api, "wa_api")
    async with AsyncExitStack() as stack:
        database = await stack.enter_async_context(Database(stored.api))
        receiver = await stack.enter_async_context(running_receiver())
        settings = settings_for(stored.api, "amqp://127.0.0.1:1/", directory)
        installation = WebhookInstallation(settings, database, receiver)
        healthy = asked.endpoints - asked.dead
        sessions = [await installation.session() for _ in range(healthy + dead)]
        for number, session in enumerate(sessions):
            url = _dead(receiver, number) if number >= healthy else receiver.url(f"/{number}")
            await installation.endpoints.create(OPERATOR, url, ["message.*"], session)
        rounds = asked.events // asked.endpoints
        wanted = rounds * healthy
        child = Child.start(_orders(stored.api, directory))
        stack.push_async_callback(child.kill)
        await eventually(lambda: "webhooks_led" in child.last_words(50), what="it leads")
        began = time.monotonic()
        await installation.receive_in_turn(sessions, rounds)
        await eventually(
            lambda: sum(len(receiver.received[f"/{n}"]) for n in range(healthy)) >= wanted,
            within=600,
            every=0.01,
            what="all is delivered that can be",
        )
        took = time.monotonic() - began
        tried = sum(len(got) for path, got in receiver.received.items() if "dead" in path)
    print(
        f"{healthy} answer, {dead} dead: {wanted:,} deliveries in {took:.1f} s, "
        f"{wanted / took:,.0f} a second; {tried} requests to dead ones",
        flush=True,
    )
    return took


def _dead(receiver: Receiver, number: int) -> str:
    """The address of an endpoint that hangs, answers 500, or is not there: one after the other."""
    path = f"/dead/{number}"
    if number % 3 == 0:
        return f"http://127.0.0.1:{free_port()}{path}"
    receiver.behaviours[path] = hangs if number % 3 == 1 else answers(500)
    return receiver.url(path)


def _orders(url: str, directory: Path) -> Orders:
    environment = {
        "PATH": os.environ["PATH"],
        "DATA_DIR": str(directory),
        "API_DATABASE_URL": url,
        "TOKEN_ENCRYPTION_KEY": KEYS.encryption.get_secret_value(),
        "HOST": "127.0.0.1",
        "WEBHOOKS_METRICS_PORT": str(free_port()),
        "WEBHOOK_ALLOWED_HOSTS": "127.0.0.1",
    }
    log = directory / f"deliverer-{time.monotonic_ns()}.log"
    return Orders("deliverer", python_module("wa_api", "deliver"), environment, log)


async def main() -> None:
    """Measure, one after the other, and say the ratio of the medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--endpoints", type=int, default=200)
    parser.add_argument("--dead", type=int, default=20)
    parser.add_argument("--events", type=int, default=5_000)
    parser.add_argument("--times", type=int, default=3)
    asked = parser.parse_args()
    directory = Path(tempfile.mkdtemp(prefix="wa-bench-webhooks-"))
    postgres = factory.postgres_server(directory / "postgres")
    try:
        await postgres.start()
        without, beside = [], []
        for _ in range(asked.times):
            without.append(await run(postgres.url, directory, asked, dead=0))
            beside.append(await run(postgres.url, directory, asked, dead=asked.dead))
        ratio = statistics.median(beside) / statistics.median(without)
        print(f"with the dead ones {ratio:.2f} times as long (medians of {asked.times})")
    finally:
        await postgres.stop()
        shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    asyncio.run(main())
