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
class WaitingRing:
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
async def waiting_ring(new_ring: NewRing) -> AsyncIterator[WaitingRing]:
    """One for the module; every test leaves the host running and the session stopped."""
    ring = await new_ring(environment={"LEASE_SECONDS": "2", "SIMULATED_LINKS_AFTER": "0.1"})
    async with consuming(ring.broker) as consumer:
        session = await ring.create_session("stopped")
        await ring.wait_for_status(session["sessionId"], "working")
        await ring.admin.post(f"/api/sessions/{session['sessionId']}/stop")
        await ring.wait_for_status(session["sessionId"], "stopped")
        yield WaitingRing(ring, session, consumer)


async def test_a_message_of_a_stopped_session_expires(waiting_ring: WaitingRing) -> None:
    message_id = await waiting_ring.queue(1)
    await waiting_ring.ring.wait_for_message(message_id, ("queued", "failed"))
    await waiting_ring.assert_expired(message_id)


async def test_who_waits_for_it_is_told(waiting_ring: WaitingRing) -> None:
    answer = await waiting_ring.send(1, wait=True)
    assert (answer.status_code, answer.json()["code"]) == (500, "expired")


async def test_only_what_is_past_its_time_expires(waiting_ring: WaitingRing) -> None:
    lasting = await waiting_ring.queue(3600)
    await waiting_ring.assert_expired(await waiting_ring.queue(1))
    await waiting_ring.ring.wait_for_message(lasting, "queued")
    await waiting_ring.ring.admin.post(f"/api/messages/{lasting}/cancel")
    await waiting_ring.ring.wait_for_message(lasting, "cancelled")


async def test_a_message_expires_at_the_next_owner(waiting_ring: WaitingRing) -> None:
    expires_at = time.monotonic() + 2
    message_id = await waiting_ring.queue(2)
    await waiting_ring.ring.wait_for_message(message_id, "queued")
    await waiting_ring.ring.kill_host()
    await eventually(lambda: time.monotonic() > expires_at, what="its time is over")
    await waiting_ring.ring.wait_for_message(message_id, "queued")
    await waiting_ring.ring.restart("host-0")
    await waiting_ring.assert_expired(message_id)
    session = await waiting_ring.ring.session(waiting_ring.session["sessionId"])
    assert session["status"] == "stopped"


async def test_a_command_that_waited_too_long_in_the_broker_is_not_queued(
    waiting_ring: WaitingRing,
) -> None:
    await waiting_ring.ring.kill_host()
    expires_at = time.monotonic() + 1
    message_id = await waiting_ring.queue(1)
    await eventually(lambda: time.monotonic() > expires_at, what="its time is over")
    await waiting_ring.ring.restart("host-0")

    async def there() -> bool:
        answer = await waiting_ring.ring.admin.get(f"/api/messages/{message_id}")
        return answer.status_code == 200

    await eventually(there, what="its owner has ended it")
    await waiting_ring.assert_expired(message_id)
    types = [e["type"] for e in waiting_ring.consumer.events if e["data"].get("id") == message_id]
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
            await ring.wait_for_status(session["sessionId"], "restricted")
            waiting_ring = WaitingRing(ring, session, consumer)
            await waiting_ring.assert_expired(await waiting_ring.queue(1))
            assert whatsapp.contact(TO).inbox == []
        await ring.stop()
