"""What arrives from WhatsApp: messages as events and in look-ups, their media, and receipts."""

import asyncio
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from playwright.async_api import Browser, expect

from tests.browser.operator import Operator
from tests.deadlines import eventually
from tests.system.cluster import fair_shares
from tests.system.conftest import NewRing
from tests.system.event_consumer import EventConsumer, consuming
from tests.system.linking import link
from tests.system.pictures import png
from tests.system.ring import Ring
from tests.whatsapp import Contact, Phone, StandIn

OURS, THEIRS = "919876543210", "12345678900"
LIMIT = 5_000_000


@dataclass(frozen=True)
class LinkedRing:
    """A ring with two hosts, a session linked to the stand-in, and who writes to it."""

    ring: Ring
    whatsapp: StandIn
    phone: Phone
    contact: Contact
    session: dict[str, Any]
    consumer: EventConsumer

    @property
    def id(self) -> str:
        """The session's id."""
        return str(self.session["sessionId"])

    async def received(self, whatsapp_id: str) -> dict[str, Any]:
        """The event about a message that arrived, by WhatsApp's id."""

        def found() -> dict[str, Any] | None:
            events = self.consumer.of(self.id, "message.received")
            return next((e for e in events if e["data"]["messageId"] == whatsapp_id), None)

        event = await eventually(found, what=f"message.received of {whatsapp_id}")
        assert event is not None
        return event

    async def document(self, data: bytes, name: str = "a.pdf") -> str:
        """A document arrives; our id of its message."""
        sent = await self.contact.send_document(OURS, data, "application/pdf", name)
        return str((await self.received(sent))["data"]["id"])

    async def media(self, message_id: str, token: str | None = None) -> httpx.Response:
        """What the api answers to who asks for its media."""
        client = self.ring.client(token or self.session["token"])
        return await client.get(f"/api/messages/{message_id}/media")


@pytest.fixture(scope="module")
async def linked_ring(new_ring: NewRing) -> AsyncIterator[LinkedRing]:
    """One ring and one linked session for the module."""
    async with StandIn.start() as whatsapp:
        ring = await new_ring(
            engine="neonize",
            hosts=2,
            environment={"LEASE_SECONDS": "3", "MEDIA_MAX_BYTES": str(LIMIT)},
            host_environment=whatsapp.engine_environment(),
        )
        await fair_shares(ring, 2)  # a session that moves has no media for a moment
        async with consuming(ring.broker) as consumer:
            phone = whatsapp.phone(OURS)
            session = await link(ring, phone)
            contact = whatsapp.contact(THEIRS)
            yield LinkedRing(ring, whatsapp, phone, contact, session, consumer)
        await ring.stop()


async def test_a_text_arrives_with_all_that_is_known_of_it(linked_ring: LinkedRing) -> None:
    sent = await linked_ring.contact.send_text(OURS, "Grüße aus 東京 👋")
    event = await linked_ring.received(sent)
    data = event["data"]
    assert (data["type"], data["text"], data["messageId"]) == ("text", "Grüße aus 東京 👋", sent)
    assert data["senderNumber"] == THEIRS
    assert data["senderLid"] == f"{linked_ring.contact.lid}@lid"
    assert data["isGroup"] is False
    assert data["mediaMimeType"] is None
    shown = await linked_ring.ring.wait_for_message(data["id"], "delivered")
    assert (shown["direction"], shown["sender"], shown["to"]) == ("incoming", THEIRS, OURS)


async def test_an_answer_names_what_it_quotes(linked_ring: LinkedRing) -> None:
    answer = await linked_ring.ring.send(
        linked_ring.session["token"], to=THEIRS, type="text", message="yes?"
    )
    whatsapp_id = answer.json()["messageId"]
    quoting = await linked_ring.contact.send_text(OURS, "yes!", quoting=whatsapp_id)
    assert (await linked_ring.received(quoting))["data"]["quotedMessageId"] == whatsapp_id


async def test_a_message_in_a_group_names_group_and_sender(linked_ring: LinkedRing) -> None:
    group = "120363012345678901@g.us"
    sent = await linked_ring.contact.send_text(OURS, "hello all", group=group)
    data = (await linked_ring.received(sent))["data"]
    assert (data["isGroup"], data["chat"], data["text"]) == (True, group, "hello all")
    assert data["senderNumber"] == THEIRS
    assert data["senderLid"] == f"{linked_ring.contact.lid}@lid"


async def test_an_image_that_arrived_is_downloaded_as_it_was_sent(linked_ring: LinkedRing) -> None:
    picture = png()
    sent = await linked_ring.contact.send_image(OURS, picture, "image/png", "Look!")
    data = (await linked_ring.received(sent))["data"]
    assert (data["type"], data["text"]) == ("image", "Look!")
    assert (data["mediaMimeType"], data["mediaSize"]) == ("image/png", len(picture))
    answer = await linked_ring.media(data["id"])
    assert answer.status_code == 200, answer.text
    assert answer.content == picture
    assert answer.headers["content-type"] == "image/png"
    assert int(answer.headers["content-length"]) == len(picture)
    assert answer.headers["content-disposition"].startswith("attachment; ")
    assert "sandbox" in answer.headers["content-security-policy"]
    assert (await linked_ring.media(sent)).content == picture  # by WhatsApp's id too


async def test_a_large_document_comes_whole_under_its_name(linked_ring: LinkedRing) -> None:
    data = os.urandom(LIMIT - 7)
    message_id = await linked_ring.document(data, 'figures "東京".pdf')
    answers = await asyncio.gather(*(linked_ring.media(message_id) for _ in range(3)))
    assert [answer.content == data for answer in answers] == [True] * 3
    assert answers[0].headers["content-disposition"] == (
        'attachment; filename="figures ____.pdf"; '
        "filename*=UTF-8''figures%20%22%E6%9D%B1%E4%BA%AC%22.pdf"
    )


async def test_the_keys_of_media_are_in_no_event(linked_ring: LinkedRing) -> None:
    message_id = await linked_ring.document(b"private")
    [event] = [
        e
        for e in linked_ring.consumer.of(linked_ring.id, "message.received")
        if e["data"]["id"] == message_id
    ]
    assert not {"directPath", "mediaKey", "sha256", "encryptedSha256"} & event["data"].keys()
    assert not [raw for raw in linked_ring.consumer.raw if b"mediaKey" in raw or b"/v/" in raw]


async def test_who_gives_up_or_reads_slowly_harms_nobody(linked_ring: LinkedRing) -> None:
    data = os.urandom(LIMIT - 1)
    message_id = await linked_ring.document(data)
    client = linked_ring.ring.client(linked_ring.session["token"])
    async with client.stream("GET", f"/api/messages/{message_id}/media") as slow:
        pieces = slow.aiter_raw(1000)
        got = await anext(pieces)
        async with client.stream("GET", f"/api/messages/{message_id}/media") as given_up:
            await anext(given_up.aiter_raw(1000))
        assert (await linked_ring.media(message_id)).content == data
        async for piece in pieces:
            got += piece
    assert got == data

    async def tidied() -> bool:
        files = [f for f in (linked_ring.ring.directory / "spool").rglob("*") if f.is_file()]
        return not files

    await eventually(tidied, what="no file on its way is left")


async def test_media_above_the_limit_is_refused(linked_ring: LinkedRing) -> None:
    message_id = await linked_ring.document(bytes(LIMIT + 1))
    answer = await linked_ring.media(message_id)
    assert (answer.status_code, answer.json()["code"]) == (413, "media_too_large")
    assert str(LIMIT) in answer.json()["error"]


async def test_what_has_no_media_is_not_found(linked_ring: LinkedRing) -> None:
    text = (await linked_ring.received(await linked_ring.contact.send_text(OURS, "no media")))[
        "data"
    ]["id"]
    answer = await linked_ring.ring.send(
        linked_ring.session["token"], to=THEIRS, type="text", message="mine"
    )
    for message_id in (text, answer.json()["id"]):
        refused = await linked_ring.media(message_id)
        assert (refused.status_code, refused.json()["code"]) == (404, "media_not_found")
    other = await linked_ring.ring.create_session("another")
    hidden = await linked_ring.media(text, token=other["token"])
    assert (hidden.status_code, hidden.json()["code"]) == (404, "message_not_found")


async def test_after_a_fail_over_the_new_owner_brings_it(linked_ring: LinkedRing) -> None:
    data = os.urandom(100_000)
    message_id = await linked_ring.document(data)
    [owner] = [
        name
        for name in ("host-0", "host-1")
        if "worker_started" in linked_ring.ring.log(name)
        and linked_ring.id in linked_ring.ring.log(name)
    ]
    await linked_ring.ring.end(owner, within=30)
    await eventually(
        lambda: linked_ring.id in linked_ring.ring.log("host-1" if owner == "host-0" else "host-0"),
        what="the other host has the session",
    )

    async def brought() -> bytes:  # the status may still be the former owner's
        answer = await linked_ring.media(message_id)
        assert answer.status_code == 200, answer.text
        return answer.content

    assert await eventually(brought, what="the new owner brings it") == data
    await linked_ring.ring.restart(owner)
    await fair_shares(linked_ring.ring, 2)
    await linked_ring.ring.wait_for_status(linked_ring.id, "working")


async def test_a_session_that_does_not_work_brings_nothing(linked_ring: LinkedRing) -> None:
    message_id = await linked_ring.document(b"later")
    await linked_ring.ring.admin.post(f"/api/sessions/{linked_ring.id}/stop")
    await linked_ring.ring.wait_for_status(linked_ring.id, "stopped")
    answer = await linked_ring.media(message_id)
    assert (answer.status_code, answer.json()["code"]) == (409, "session_stopped")
    await linked_ring.ring.admin.post(f"/api/sessions/{linked_ring.id}/restart")
    await linked_ring.ring.wait_for_status(linked_ring.id, "working")
    assert (await linked_ring.media(message_id)).content == b"later"


async def test_media_that_whatsapp_keeps_no_more_is_said(linked_ring: LinkedRing) -> None:
    message_id = await linked_ring.document(b"soon gone")
    linked_ring.whatsapp.forget_media()
    answer = await linked_ring.media(message_id)
    assert (answer.status_code, answer.json()["code"]) == (410, "media_gone")


async def test_receipts_show_in_rest_on_the_page_and_on_the_exchange(
    linked_ring: LinkedRing, browser: Browser
) -> None:
    async with Operator.at(browser, linked_ring.ring.url()) as operator:
        await operator.sign_in(linked_ring.ring.admin_key)
        await operator.page.goto(f"/sessions/{linked_ring.id}")
        media = linked_ring.consumer.of(linked_ring.id, "message.received")[-1]["data"]["id"]
        link_to_media = operator.page.locator(f"a[href='/api/messages/{media}/media']")
        await expect(link_to_media).to_have_text("document")
        linked_ring.contact.auto_deliver = False
        answer = await linked_ring.ring.send(
            linked_ring.session["token"], to=THEIRS, type="text", message="receipts"
        )
        message_id, whatsapp_id = answer.json()["id"], answer.json()["messageId"]
        state = operator.page.locator(f"#message-{message_id} .state")
        await expect(state).to_have_text("Sent")
        for kind, word, confirm in (
            ("delivered", "Delivered", linked_ring.contact.deliver),
            ("read", "Read", linked_ring.contact.read),
        ):
            await confirm(whatsapp_id)
            shown = await linked_ring.ring.wait_for_message(message_id, kind)
            assert shown[f"{kind}At"] is not None
            await expect(state).to_have_text(word)
            events = await linked_ring.consumer.wait_for(linked_ring.id, f"message.{kind}")
            assert events[-1]["data"]["messageId"] == whatsapp_id
            assert events[-1]["data"][f"{kind}At"] == shown[f"{kind}At"]
