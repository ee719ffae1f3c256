"""What recipients' phones say of a message: played, or not readable. Through the real engine."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest

from tests.deadlines import eventually
from tests.scrape import scraped
from tests.system.conftest import NewRing
from tests.system.event_consumer import EventConsumer, consuming
from tests.system.linking import link
from tests.system.ring import Ring
from tests.whatsapp import Contact, Phone, StandIn


@dataclass
class LinkedRing:
    """A linked session, its phone, a recipient, and an event consumer."""

    ring: Ring
    session: dict[str, Any]
    phone: Phone
    friend: Contact
    consumer: EventConsumer

    async def send(self, text: str) -> dict[str, Any]:
        """Send a text that the friend reads."""
        answer = await self.ring.send(
            self.session["token"], to=self.friend.number, type="text", message=text
        )
        assert answer.status_code == 200, answer.text
        assert (await self.friend.receive()).text == text
        body: dict[str, Any] = answer.json()
        return body

    async def shown(self, key: str, field: str) -> dict[str, Any]:
        """The message in the look-ups, once it has this field."""

        async def has() -> dict[str, Any]:
            body: dict[str, Any] = (await self.ring.admin.get(f"/api/messages/{key}")).json()
            assert body[field]
            return body

        return await eventually(has, what=f"{field} is shown")

    def types(self, key: str) -> list[str]:
        """The events of the message, in order."""
        events = self.consumer.of(self.session["sessionId"])
        return [one["type"] for one in events if one["data"].get("id") == key]


@pytest.fixture
async def linked(new_ring: NewRing) -> AsyncIterator[LinkedRing]:
    async with StandIn.start() as whatsapp:
        ring = await new_ring(engine="neonize", host_environment=whatsapp.engine_environment())
        async with consuming(ring.broker) as consumer:
            phone, friend = whatsapp.phone("919844444444"), whatsapp.contact("12345678900")
            yield LinkedRing(ring, await link(ring, phone), phone, friend, consumer)
        await ring.stop()


async def test_a_played_message_is_read_and_played(linked: LinkedRing) -> None:
    sent = await linked.send("hello")
    for _ in range(2):
        await linked.friend.play(sent["messageId"])
    shown = await linked.shown(sent["id"], "playedAt")
    assert (shown["status"], shown["readAt"]) == ("read", shown["playedAt"])
    assert linked.types(sent["id"])[-2:] == ["message.read", "message.played"]


async def test_an_unreadable_message_is_told_and_can_be_sent_again(linked: LinkedRing) -> None:
    known = await linked.send("the engine still has it")
    await linked.friend.ask_again(known["messageId"], linked.phone.number)
    assert (await linked.friend.receive()).text == "the engine still has it"
    lost = await linked.send("the engine has it no more")
    path = f"/api/sessions/{linked.session['sessionId']}"
    await linked.ring.admin.post(f"{path}/restart")
    await eventually(
        lambda: [
            one["type"]
            for one in linked.consumer.of(linked.session["sessionId"])
            if one["type"] == "session.connected"
        ][1:],
        what="the session is connected anew",
    )
    await linked.friend.ask_again(lost["messageId"], linked.phone.number)
    shown = await linked.shown(lost["id"], "retryRequested")
    assert shown["status"] in {"sent", "delivered"}
    assert linked.types(lost["id"]).count("message.retry_requested") == 1
    metrics = await scraped(linked.ring, "host-0")
    assert metrics.value("wa_messages_retry_requested_total") == 1
    assert "message.retry_requested" not in linked.types(known["id"])
    refused = await linked.ring.admin.post(f"/api/messages/{known['id']}/resend")
    assert refused.status_code == 409
    again = await linked.ring.admin.post(f"/api/messages/{lost['id']}/resend")
    assert again.status_code == 202, again.text
    assert (await linked.friend.receive()).text == "the engine has it no more"
