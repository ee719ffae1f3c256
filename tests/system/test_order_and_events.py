"""The order of messages and events, on the real engine, as a recipient and a consumer see it."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest

from tests.deadlines import eventually
from tests.system.conftest import NewRing
from tests.system.event_consumer import EventConsumer, consuming, reading_the_log
from tests.system.linking import link
from tests.system.ring import Ring
from tests.whatsapp import Contact, StandIn

TO = "12345678900"
MANY = 50
SECRET = "a text for one pair of eyes only"


@dataclass(frozen=True)
class LinkedRing:
    """A linked session, the contact that it writes to, and an event consumer since before it."""

    ring: Ring
    contact: Contact
    session: dict[str, Any]
    consumer: EventConsumer

    async def send_soon(self, text: str) -> str:
        """Send with `respond-async`; the message's id."""
        answer = await self.ring.send(
            self.session["token"],
            headers={"Prefer": "respond-async"},
            to=TO,
            type="text",
            message=text,
            reference=text,
        )
        assert answer.status_code == 202, answer.text
        return str(answer.json()["id"])

    async def all_arrive(self, texts: set[str]) -> list[str]:
        """Wait for all of these texts; in which order they reached the contact."""

        def arrived() -> list[str]:
            got = [one.text for one in self.contact.inbox if one.text in texts]
            assert len(got) == len(texts), f"{len(got)} of {len(texts)}"
            return [str(text) for text in got]

        return await eventually(arrived, what=f"{len(texts)} texts arrive")

    def events(self, type_: str, prefix: str) -> list[dict[str, Any]]:
        """The events of that type about messages with such a reference, as they came."""
        found = self.consumer.of(self.session["sessionId"], type_)
        return [e for e in found if (e["data"]["reference"] or "").startswith(prefix)]


@pytest.fixture(scope="module")
async def linked_ring(new_ring: NewRing) -> AsyncIterator[LinkedRing]:
    """One ring and one linked session for the module."""
    async with StandIn.start() as whatsapp:
        ring = await new_ring(
            engine="neonize",
            environment={"LEASE_SECONDS": "3", "SESSION_RATE_PER_MINUTE": "10000"},
            host_environment=whatsapp.engine_environment(),
        )
        async with consuming(ring.broker) as consumer:
            session = await link(ring, whatsapp.phone("919876543210"))
            yield LinkedRing(ring, whatsapp.contact(TO), session, consumer)
        await ring.stop()


async def test_sequential_messages_arrive_in_the_order_of_their_202s(
    linked_ring: LinkedRing,
) -> None:
    texts = [f"one by one {number}" for number in range(MANY)]
    ids = [await linked_ring.send_soon(text) for text in texts]
    assert await linked_ring.all_arrive(set(texts)) == texts
    await linked_ring.consumer.wait_for(
        linked_ring.session["sessionId"], "message.sent", count=MANY
    )
    sent = [event["data"]["id"] for event in linked_ring.events("message.sent", "one by one")]
    assert sent == ids


async def test_concurrent_messages_arrive_in_the_order_of_their_sequence(
    linked_ring: LinkedRing,
) -> None:
    texts = {f"at once {number}" for number in range(MANY)}
    ids = set(await asyncio.gather(*(linked_ring.send_soon(text) for text in texts)))
    arrived = await linked_ring.all_arrive(texts)

    def all_sent() -> list[dict[str, Any]]:
        found = linked_ring.events("message.sent", "at once")
        assert len(found) == MANY
        return found

    sent = await eventually(all_sent, what="all are sent")
    queued = linked_ring.events("message.queued", "at once")
    assert {event["data"]["id"] for event in queued} == ids
    for events in (queued, sent):
        ordered = sorted(events, key=lambda event: int(event["sessionSequence"]))
        assert [event["data"]["reference"] for event in ordered] == arrived


async def test_events_tell_all_and_give_nothing_away(linked_ring: LinkedRing) -> None:
    ring, consumer, session_id = (
        linked_ring.ring,
        linked_ring.consumer,
        linked_ring.session["sessionId"],
    )
    answer = await ring.send(linked_ring.session["token"], to=TO, type="text", message=SECRET)
    message_id = answer.json()["id"]

    def published() -> list[dict[str, Any]]:
        events = consumer.of(session_id, "message.sent")
        return [event for event in events if event["data"]["id"] == message_id]

    [sent] = await eventually(published, what="the sent message is published")
    assert sent.keys() == {
        *("id", "type", "version", "sessionId", "sessionSequence", "stream", "streamVersion"),
        *("occurredAt", "correlationId", "causationId", "data"),
    }
    assert sent["stream"] == f"message-{sent['data']['id']}"
    assert sent["data"]["messageId"] == answer.json()["messageId"]
    assert (sent["data"]["to"], sent["data"]["type"]) == (TO, "text")

    rotated = await ring.admin.post(f"/api/sessions/{session_id}/token")
    await ring.admin.delete(f"/api/sessions/{session_id}")
    await consumer.wait_for(session_id, "session.deleted")
    types = [event["type"] for event in consumer.of(session_id)]
    assert types[:3] == ["session.created", "session.starting", "session.qr_issued"]
    assert types[-2:] == ["session.logged_out", "session.deleted"]
    consumer.assert_gapless()
    [issued] = consumer.of(session_id, "session.qr_issued")
    code = issued["data"]["qr"]
    assert code

    async with reading_the_log(ring.broker) as log:
        await log.wait_for(session_id, "session.deleted")
    assert [e["id"] for e in log.of(session_id)] == [e["id"] for e in consumer.of(session_id)]
    assert log.of(session_id, "session.qr_issued")[0]["data"]["qr"] is None
    log.assert_gapless()
    keys = (linked_ring.session["token"], rotated.json()["token"], ring.admin_key, SECRET)
    for raw in (*consumer.raw, *log.raw):
        assert not [key for key in keys if key.encode() in raw]
    assert not [raw for raw in log.raw if code.encode() in raw]
