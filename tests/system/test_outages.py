"""The broker or the database is away: at the start and while everything runs."""

import asyncio
import os
import re
from datetime import timedelta
from typing import Any

import httpx

from deploy.servers import databases
from tests.deadlines import PATIENCE_SECONDS, eventually
from tests.infrastructure import OwnPostgres, OwnRabbitMQ
from tests.system.conftest import NewRing
from tests.system.event_consumer import reading_the_log
from tests.system.pods import Kubelet
from tests.system.ring import Ring

TO = "919876543210"
OUTAGE_SECONDS = float(os.environ.get("OUTAGE_SECONDS", "1"))
"""How long the broker or the database stays away under load."""
PAUSE_SECONDS = 0.1
"""After a 503 a client does not try the next one at once."""
AT_ONCE = timedelta(seconds=4)
"""A database that is away is waited for as long as it takes to get a connection: 3 s."""
QUICK = {
    "LEASE_SECONDS": "3",
    "SIMULATED_LINKS_AFTER": "0.1",
    "SEND_WAIT_SECONDS": "2",
    "SESSION_RATE_PER_MINUTE": "100000",
}


class Load:
    """A client that sends one message after the other, each with a key, and keeps the answers."""

    def __init__(self, ring: Ring, token: str) -> None:
        self.answers: dict[str, httpx.Response] = {}
        self._ring = ring
        self._token = token
        self._ends = asyncio.Event()

    async def run(self) -> None:
        """Send until `end`."""
        number = 0
        while not self._ends.is_set():
            number += 1
            key = f"load-{number}"
            self.answers[key] = await self.send(key)
            if self.answers[key].status_code == 503:
                await asyncio.sleep(PAUSE_SECONDS)

    async def send(self, key: str) -> httpx.Response:
        """The message of this key, perhaps again."""
        return await self._ring.send(
            self._token,
            headers={"Idempotency-Key": key},
            to=TO,
            type="text",
            message=key,
            reference=key,
        )

    async def only(self, status: int, seconds: float) -> None:
        """For so long every answer has this status, and comes at once."""
        clock = asyncio.get_running_loop().time
        seen, until = set(self.answers), clock() + seconds

        def all_alike() -> bool:
            fresh = [answer for key, answer in self.answers.items() if key not in seen]
            assert {answer.status_code for answer in fresh} <= {status}
            assert all(answer.elapsed < AT_ONCE for answer in fresh)
            return clock() >= until

        await eventually(all_alike, within=seconds + 5, what=f"only {status} for {seconds:g} s")

    def end(self) -> None:
        """No further message."""
        self._ends.set()

    def statuses(self) -> set[int]:
        """The statuses seen so far."""
        return {answer.status_code for answer in self.answers.values()}

    async def answered(self, status: int, within: float = PATIENCE_SECONDS) -> None:
        """Wait for a further answer with this status."""
        before = sum(a.status_code == status for a in self.answers.values())

        def more() -> bool:
            return sum(a.status_code == status for a in self.answers.values()) > before

        await eventually(more, within=within, what=f"an answer {status}, seen {self.statuses()}")


async def listed(ring: Ring, session_id: str) -> dict[str, dict[str, Any]]:
    """All messages of a session by their reference."""
    found: dict[str, dict[str, Any]] = {}
    cursor: str | None = None
    while True:
        parameters = {"sessionId": session_id, "limit": "200"} | (
            {"cursor": cursor} if cursor else {}
        )
        answer = await ring.admin.get("/api/messages", params=parameters)
        assert answer.status_code == 200, answer.text
        page = answer.json()
        for message in page["items"]:
            assert message["reference"] not in found, message
            found[message["reference"]] = message
        cursor = page["nextCursor"]
        if cursor is None:
            return found


async def assert_true_answers(ring: Ring, session: dict[str, Any], load: Load) -> None:
    """Every 200 is a sent message, no 503 left one behind, and the repeat of any key is as true."""

    async def ended() -> dict[str, dict[str, Any]]:
        messages = await listed(ring, session["sessionId"])
        assert not [m for m in messages.values() if m["status"] == "queued"], messages
        assert messages.keys() >= {k for k, a in load.answers.items() if a.status_code == 200}
        return messages

    messages = await eventually(ended, what="every message has ended")
    for key, answer in load.answers.items():
        if answer.status_code == 200:
            assert messages[key]["messageId"] == answer.json()["messageId"]
        elif answer.status_code == 503:
            assert key not in messages
            assert int(answer.headers["retry-after"]) >= 1
        else:
            assert answer.status_code == 202 or answer.json()["code"] == "outcome_unknown"
    for key in [k for k, a in load.answers.items() if a.status_code != 200]:
        again = await load.send(key)
        if key in messages and messages[key]["status"] == "unknown":
            assert again.json()["code"] == "outcome_unknown", again.text
        else:
            assert again.status_code == 200, again.text


async def assert_people_are_told(ring: Ring, away: str) -> None:
    """With that dependency away the page reaches people, and readiness names it, alone."""
    people = ring.client(None)
    page = await people.get("/")
    assert page.status_code == 200
    assert "API Documentation" in page.text
    inside = await people.get("/login", params={"key": ring.admin_key}, follow_redirects=True)
    assert inside.status_code == 200
    shown = re.findall(r"(Broker|Database) (available|away)", inside.text)
    assert [name.lower() for name, is_ in shown if is_ == "away"] == [away]
    host = ring.processes["host-0"].orders.env["HEALTH_PORT"]

    async def named() -> bool:
        for address in (f"{ring.url()}/readyz", f"http://127.0.0.1:{host}/readyz"):
            answer = await people.get(address)
            assert answer.status_code == 200
            shown = {name: answer.json()[name] for name in ("broker", "database")}
            assert [name for name, is_ in shown.items() if is_ == "unavailable"] == [away], address
        return True

    await eventually(named, what=f"readiness names the {away}")


async def says(ring: Ring, process: str, words: str) -> None:
    """Wait until the process has logged these words."""
    await eventually(lambda: words in ring.log(process), what=f"{process}: {words}")


async def created(ring: Ring) -> dict[str, Any]:
    """A working session, as soon as one can be created."""

    async def one() -> dict[str, Any]:
        answer = await ring.admin.post("/api/sessions")
        assert answer.status_code == 201, answer.text
        body: dict[str, Any] = answer.json()
        return body

    session: dict[str, Any] = await eventually(one, what="a session can be created")
    await ring.wait_for_status(session["sessionId"], "working")
    return session


async def test_the_broker_is_away_at_the_start_and_later(
    new_ring: NewRing, own_rabbitmq: OwnRabbitMQ
) -> None:
    server = await own_rabbitmq()
    await server.stop()
    ring = await new_ring(broker=server.url, environment=QUICK)
    refused = await ring.admin.post("/api/sessions")
    assert refused.status_code == 503
    assert refused.json()["code"] == "broker_unavailable"
    assert int(refused.headers["retry-after"]) >= 1
    for name in ("host-0", "projector", "api-0"):
        await says(ring, name, "waiting_for_broker")
    await server.start()
    session = await created(ring)

    load, kubelet = Load(ring, session["token"]), Kubelet(ring)
    async with kubelet.watching(), asyncio.TaskGroup() as group:
        group.create_task(load.run())
        await load.answered(200)
        await server.stop()
        await load.answered(503)
        await load.only(503, OUTAGE_SECONDS)
        await assert_people_are_told(ring, "broker")
        seen = await ring.wait_for_status(session["sessionId"], "disconnected")
        assert seen["statusReason"] == "host_silent"
        await server.start()
        await load.answered(200)
        load.end()
    assert kubelet.restarted == []
    await assert_true_answers(ring, session, load)
    await ring.wait_for_status(session["sessionId"], "working")
    assert (await ring.admin.get("/readyz")).json()["broker"] == "available"
    async with reading_the_log(server.url) as log:
        await log.wait_for(session["sessionId"], "message.sent", count=len(load.answers))
        log.assert_gapless()
    assert ring.processes["host-0"].alive


async def test_the_database_is_away_at_the_start_and_later(
    new_ring: NewRing, own_postgres: OwnPostgres
) -> None:
    server = await own_postgres()
    ring = await new_ring(
        databases=await databases.provide(server.url),
        environment=QUICK,
        migrated=False,
        start=False,
    )
    await ring.migrate()
    await server.stop()
    ring = await new_ring(databases=ring.databases, broker=ring.broker, environment=QUICK)
    refused = await ring.admin.post("/api/sessions")
    assert refused.status_code == 503
    assert refused.json()["code"] == "database_unavailable"
    assert int(refused.headers["retry-after"]) >= 1
    await says(ring, "host-0", "waiting_for_database")
    assert (await ring.admin.get("/readyz")).json()["database"] == "unavailable"
    for name in ("api-0", "projector", "host-0"):
        assert await ring.end(name), f"{name} waits, and does not end when it is told to"
        await ring.restart(name)
    await server.start()
    session = await created(ring)
    load, kubelet = Load(ring, session["token"]), Kubelet(ring)
    async with kubelet.watching(), asyncio.TaskGroup() as group:
        group.create_task(load.run())
        await load.answered(200)
        for away in (server.stop, server.kill):
            await away()
            await load.answered(503)
            await load.only(503, OUTAGE_SECONDS)
            await assert_people_are_told(ring, "database")
            await server.start()
            await load.answered(200)
        load.end()
    assert kubelet.restarted == []
    await assert_true_answers(ring, session, load)
    await server.stop()
    await says(ring, "host-0", "lease_expired")
    await server.start()
    await ring.wait_for_status(session["sessionId"], "working")
    answer = await ring.send(session["token"], to=TO, type="text", message="after the outage")
    assert answer.status_code == 200, answer.text
    assert ring.processes["host-0"].alive
