"""Every event that a full run of the ring publishes is what the AsyncAPI document says.

The reader's validation is built from the document that the api serves, and from nothing else.
"""

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

import aio_pika
import pytest
from aio_pika.abc import AbstractIncomingMessage

from tests.deadlines import eventually
from tests.system.conftest import NewRing
from tests.system.contract_reader import ContractReader
from tests.system.linking import link, worker_of
from tests.system.pictures import png
from tests.system.ring import Ring
from tests.whatsapp import Contact, Phone, StandIn, refusals
from tests.whatsapp.protobufs import Message

THEIRS = "12345678900"
NOBODY = "19995550000"
GROUP = "120363012345678901@g.us"
_numbers = count(4915120000001)


@dataclass
class Reading:
    """What the reader got so far, and what of it it did not understand."""

    reader: ContractReader
    types: set[str] = field(default_factory=set)
    misunderstood: list[str] = field(default_factory=list)
    events: int = 0

    async def take(self, message: AbstractIncomingMessage) -> None:
        """Understand one event."""
        key = message.routing_key or ""
        self.events += 1
        self.types.add(key.split(".", 2)[2])
        wrong = self.reader.understand(key, message.body)
        self.misunderstood += [f"{key}: {sentence}" for sentence in wrong]
        await message.ack()

    async def all_of(self, *types: str) -> None:
        """Wait until there was an event of each of these types."""
        await eventually(
            lambda: set(types) <= self.types,
            what=f"{sorted(set(types))} are published; there were {sorted(self.types)}",
        )


@asynccontextmanager
async def reading(ring: Ring) -> AsyncIterator[Reading]:
    """Read everything from now on."""
    document = (await ring.client(None).get("/asyncapi.json")).json()
    heard = Reading(ContractReader(document))
    async with await aio_pika.connect(ring.broker) as connection:
        channel = await connection.channel()
        queue = await channel.declare_queue(exclusive=True)
        await queue.bind(heard.reader.exchange, "v1.#")
        await queue.consume(heard.take)
        yield heard


@dataclass(frozen=True)
class LinkedRing:
    """A ring whose engine talks to the stand-in, and its reader."""

    ring: Ring
    whatsapp: StandIn
    contact: Contact
    heard: Reading

    async def linked(self) -> tuple[Phone, dict[str, Any]]:
        """A new working session and its phone."""
        phone = self.whatsapp.phone(str(next(_numbers)))
        return phone, await link(self.ring, phone)

    async def ask(self, session: dict[str, Any], what: str, status: str) -> None:
        """Restart, stop or log out."""
        session_id = session["sessionId"]
        await self.ring.admin.post(f"/api/sessions/{session_id}/{what}")
        await self.ring.wait_for_status(session_id, status)


@pytest.fixture(scope="module")
async def linked_ring(new_ring: NewRing) -> AsyncIterator[LinkedRing]:
    """A ring on the real engine."""
    async with StandIn.start() as whatsapp:
        ring = await new_ring(
            engine="neonize",
            environment={"LEASE_SECONDS": "3", "LOGIN_SECONDS": "5"},
            host_environment=whatsapp.engine_environment(),
        )
        async with reading(ring) as heard:
            yield LinkedRing(ring, whatsapp, whatsapp.contact(THEIRS), heard)
        await ring.stop()


async def test_the_life_of_messages_on_the_real_engine(linked_ring: LinkedRing) -> None:
    ring, contact = linked_ring.ring, linked_ring.contact
    phone, session = await linked_ring.linked()

    async def send(to: str = THEIRS, **headers: str) -> dict[str, Any]:
        answer = await ring.send(
            session["token"], headers=headers, to=to, type="text", message="x", reference="r"
        )
        body: dict[str, Any] = answer.json()
        return body

    sent = await send()
    await contact.deliver(sent["messageId"])
    await contact.read(sent["messageId"])
    await contact.play(sent["messageId"])
    await send(NOBODY)
    hello = await contact.send_text(phone.number, "hello", quoting=sent["messageId"])
    await contact.send_text(phone.number, "hello all", group=GROUP)
    await contact.send_image(phone.number, png(), "image/png", "look")
    await contact.send_document(phone.number, b"figures", "application/pdf", "a.pdf", "read")
    for change in changes_of(hello):
        await contact.send_message(phone.number, change)
    await contact.hang_up(phone.number, await contact.call(phone.number))
    await phone.write(THEIRS, Message(conversation="from the phone"))
    await linked_ring.heard.all_of(*ARRIVING)  # the engine's end may lose what arrives then
    phone.hold_acks()
    sending = asyncio.create_task(send())
    await eventually(lambda: len(contact.inbox) == 2, what="the second text is out")
    os.kill(worker_of(ring, session["sessionId"]), signal.SIGKILL)
    phone.forget_acks()
    assert (await sending)["code"] == "outcome_unknown"
    await ring.wait_for_status(session["sessionId"], "working")
    await contact.ask_again(sent["messageId"], phone.number)  # the new engine has it no more
    await linked_ring.heard.all_of("message.retry_requested")
    await linked_ring.ask(session, "stop", "stopped")
    queued = await send(Prefer="respond-async")
    await ring.wait_for_message(queued["id"], "queued")
    await ring.admin.post(f"/api/messages/{queued['id']}/cancel")
    later = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    await ring.send(session["token"], to=THEIRS, type="text", message="x", sendAt=later)
    await linked_ring.heard.all_of(
        *("message.scheduled", "message.queued", "message.sent"),
        *("message.delivered", "message.read", "message.played", "message.retry_requested"),
        *("message.failed", "message.unknown", "message.cancelled", "message.received"),
        *ARRIVING,
    )
    assert linked_ring.heard.misunderstood == []


ARRIVING = (
    *("message.echoed", "message.reacted", "message.voted", "message.edited", "message.revoked"),
    *("call.received", "call.ended"),
)


def changes_of(whatsapp_id: str) -> list[Any]:
    """A reaction to a message, a vote that nobody can read, an edit and a deletion of it."""
    reaction, vote, edit, deletion = Message(), Message(), Message(), Message()
    vote.pollUpdateMessage.pollCreationMessageKey.ID = whatsapp_id
    reaction.reactionMessage.text = "👍"
    edit.protocolMessage.type = edit.protocolMessage.MESSAGE_EDIT
    edit.protocolMessage.editedMessage.conversation = "better"
    deletion.protocolMessage.type = deletion.protocolMessage.REVOKE
    keys = (reaction.reactionMessage, edit.protocolMessage, deletion.protocolMessage)
    for part in keys:
        part.key.ID = whatsapp_id
    return [reaction, vote, edit, deletion]


async def test_the_life_of_sessions_on_the_real_engine(linked_ring: LinkedRing) -> None:
    phone, session = await linked_ring.linked()
    phone.refuse_login(402, code=101, expire=2)
    await phone.drop()
    await linked_ring.ring.wait_for_status(session["sessionId"], "restricted")
    phone.refuse_login(405)
    await linked_ring.ring.wait_for_status(session["sessionId"], "disconnected")
    linked_ring.whatsapp.refusals.linking = refusals.LOCKED
    refused = await linked_ring.ring.create_session("refused")
    await linked_ring.ring.wait_for_status(refused["sessionId"], "failed")
    linked_ring.whatsapp.refusals.linking = None
    phone.refuse_login(406)
    await linked_ring.ask(session, "restart", "banned")
    phone.allow_login()
    other, second = await linked_ring.linked()
    await other.unlink()
    await linked_ring.ring.wait_for_status(second["sessionId"], "logged_out")
    await linked_ring.ring.admin.delete(f"/api/sessions/{second['sessionId']}")
    _, third = await linked_ring.linked()
    await linked_ring.ring.admin.patch(
        f"/api/sessions/{third['sessionId']}", json={"metadata": {"customer": "4711"}}
    )
    await linked_ring.ask(third, "stop", "stopped")
    await linked_ring.ask(third, "restart", "working")
    await linked_ring.ask(third, "logout", "logged_out")
    await linked_ring.heard.all_of(
        *(
            "session.created",
            "session.updated",
            "session.starting",
            "session.qr_issued",
            "session.connecting",
        ),
        *("session.connected", "session.disconnected", "session.restricted", "session.failed"),
        *("session.banned", "session.logged_out", "session.stopped", "session.deleted"),
    )
    assert linked_ring.heard.misunderstood == []


async def test_what_only_the_simulated_engine_shows_quickly_and_all_types_in_sum(
    linked_ring: LinkedRing, new_ring: NewRing
) -> None:
    ring = await new_ring(
        environment={"SIMULATED_QR_SECONDS": "0.4", "SIMULATED_QR_CODES": "2"},
        host_environment={"SIMULATED_LINKS_AFTER": "0.2"},
    )
    async with reading(ring) as heard:
        session = await ring.create_session("linked")
        await ring.wait_for_status(session["sessionId"], "working")
        for ending in ("0005", "0000", "0001", "0002", "0003"):
            headers = {"Prefer": "respond-async"} if ending == "0003" else {}
            await ring.send(
                session["token"], headers=headers, to=f"1555000{ending}", type="text", message="x"
            )
        await heard.all_of("message.received", "message.delivered", "session.disconnected")
        await ring.end("host-0")
        await ring.add_host({"SIMULATED_LINKS_AFTER": "100"})
        expired = await ring.create_session("nobody scans it")
        await ring.wait_for_status(expired["sessionId"], "failed")
        await heard.all_of("session.qr_expired", "session.failed")
    assert heard.misunderstood == []
    document = (await ring.client(None).get("/asyncapi.json")).json()
    described = {
        channel["address"].split(".", 2)[2]
        for channel in document["channels"].values()
        if channel["bindings"]["amqp"]["is"] == "routingKey"
    }
    assert linked_ring.heard.types | heard.types == described


async def test_the_reader_would_notice(linked_ring: LinkedRing) -> None:
    document = (await linked_ring.ring.client(None).get("/asyncapi.json")).json()
    example = document["components"]["messages"]["MessageSent"]["examples"][0]["payload"]
    reader = ContractReader(document)

    def wrong(key: str = "v1.any.message.sent", **change: Any) -> list[str]:
        event = {**example, "data": {**example["data"], **change}}
        return reader.understand(key, json.dumps(event).encode())

    assert wrong() == []
    assert wrong(messageId=None)
    assert wrong(sentAt="yesterday")
    assert wrong(added=1) == ["event.data.added is not in the document"]
    assert wrong(key="v1.any.message.delivered")
    assert wrong(key="v1.any.message.vanished")
