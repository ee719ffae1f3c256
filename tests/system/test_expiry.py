"""`X-Expires-In`: what was not sent in its time fails with `expired` and never goes out."""

import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from tests.deadlines import eventually
from tests.system.conftest import NewRing
from tests.system.event_consumer import EventConsumer, consuming
from tests.system.linking import link
from tests.system.ring import Ring
from tests.whatsapp import StandIn

TO = "12345678900"


@dataclass(frozen=True)
class World:
    """A ring of one host with a session that does not work, and an event consumer."""

    ring: Ring
    session: dict[str, Any]
    consumer: EventConsumer

    async def send(self, seconds: int, *, wait: bool = False) -> httpx.Response:
        """A text through the session, worth sending for so long."""
        headers = {"X-Expires-In": str(seconds)} | ({} if wait else {"Prefer": "respond-async"})
        return await self.ring.send(
            self.session["token"], headers=headers, to=TO, type="text", message="too late"
        )

    async def queue(self, seconds: int) -> str:
        """Such a text, taken at once; its id."""
        answer = await self.send(seconds)
        assert answer.status_code == 202, answer.text
        return str(answer.json()["id"])

    async def assert_expired(self, message_id: str) -> None:
        """It fails with `expired`, is published as failed, and was never sent."""
        seen = await self.ring.wait_for_message(message_id, "failed")
        assert seen["error"]["code"] == "expired"
        session_id = self.session["sessionId"]

        def published() -> set[str]:
            events = self.consumer.of(session_id)
            types = {e["type"] for e in events if e["data"].get("id") == message_id}
            assert "message.failed" in types
            return types

        types = await eventually(published, what="it is published")
        assert types <= {"message.queued", "message.failed"}


@pytest.fixture(scope="module")
async def world(new_ring: NewRing) -> AsyncIterator[World]:
    """One for the module; every test leaves the host running and the session stopped."""
    ring = await new_ring(environment={"LEASE_SECONDS": "2", "SIMULATED_LINKS_AFTER": "0.1"})
    async with consuming(ring.broker) as consumer:
        session = await ring.create_session("stopped")
        await ring.wait_for_status(session["sessionId"], "working")
        await ring.admin.post(f"/api/sessions/{session['sessionId']}/stop")
        await ring.wait_for_status(session["sessionId"], "stopped")
        yield World(ring, session, consumer)


async def test_a_message_of_a_stopped_session_expires(world: World) -> None:
    message_id = await world.queue(1)
    await world.ring.wait_for_message(message_id, ("queued", "failed"))
    await world.assert_expired(message_id)


async def test_who_waits_for_it_is_told(world: World) -> None:
    answer = await world.send(1, wait=True)
    assert (answer.status_code, answer.json()["code"]) == (500, "expired")


async def test_only_what_is_past_its_time_expires(world: World) -> None:
    lasting = await world.queue(3600)
    await world.assert_expired(await world.queue(1))
    await world.ring.wait_for_message(lasting, "queued")
    await world.ring.admin.post(f"/api/messages/{lasting}/cancel")
    await world.ring.wait_for_message(lasting, "cancelled")


async def test_a_message_expires_at_the_next_owner(world: World) -> None:
    expires_at = time.monotonic() + 2
    message_id = await world.queue(2)
    await world.ring.wait_for_message(message_id, "queued")
    await world.ring.kill_host()
    await eventually(lambda: time.monotonic() > expires_at, what="its time is over")
    await world.ring.wait_for_message(message_id, "queued")
    await world.ring.restart("host-0")
    await world.assert_expired(message_id)
    session = await world.ring.session(world.session["sessionId"])
    assert session["status"] == "stopped"


async def test_a_command_that_waited_too_long_in_the_broker_is_not_queued(world: World) -> None:
    await world.ring.kill_host()
    expires_at = time.monotonic() + 1
    message_id = await world.queue(1)
    await eventually(lambda: time.monotonic() > expires_at, what="its time is over")
    await world.ring.restart("host-0")

    async def there() -> bool:
        answer = await world.ring.admin.get(f"/api/messages/{message_id}")
        return answer.status_code == 200

    await eventually(there, what="its owner has ended it")
    await world.assert_expired(message_id)
    types = [e["type"] for e in world.consumer.events if e["data"].get("id") == message_id]
    assert set(types) == {"message.failed"}


async def test_a_message_of_a_session_that_is_logged_in_nowhere_expires(new_ring: NewRing) -> None:
    """On the real engine: WhatsApp lets the account pause, so that nothing is connected."""
    async with StandIn.start() as whatsapp:
        ring = await new_ring(engine="neonize", host_environment=whatsapp.engine_environment())
        async with consuming(ring.broker) as consumer:
            phone = whatsapp.phone("4915110000001")
            session = await link(ring, phone)
            phone.refuse_login(402, code=101, expire=600)
            await phone.drop()
            await ring.wait_for_status(session["sessionId"], "restricted", timeout=20)
            world = World(ring, session, consumer)
            await world.assert_expired(await world.queue(1))
            assert whatsapp.contact(TO).inbox == []
        await ring.stop()
