"""The whole ring on the real engine, through its public interfaces alone, against the stand-in."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from tests.deadlines import eventually
from tests.system.conftest import NewRing
from tests.system.linking import link, worker_of
from tests.system.media_server import MediaServer
from tests.system.pictures import png, png_bomb
from tests.system.ring import Ring
from tests.whatsapp import Contact, Phone, StandIn

NUMBER = "919876543210"
RECIPIENT = "12345678900"


@dataclass
class LinkedRing:
    """A ring whose engine talks to the stand-in, and one linked session."""

    ring: Ring
    whatsapp: StandIn
    media: MediaServer
    phone: Phone
    contact: Contact
    session: dict[str, Any]

    @property
    def token(self) -> str:
        """The linked session's token."""
        token: str = self.session["token"]
        return token

    @property
    def id(self) -> str:
        """The linked session's id."""
        session_id: str = self.session["sessionId"]
        return session_id

    async def send(self, **body: Any) -> httpx.Response:
        """A message to the contact."""
        return await self.ring.send(self.token, **{"to": RECIPIENT, **body})


@pytest.fixture(scope="module")
async def linked_ring(new_ring: NewRing) -> AsyncIterator[LinkedRing]:
    """One ring, one stand-in, one linked session, for the module."""
    async with StandIn.start() as whatsapp, MediaServer.start() as media:
        ring = await new_ring(
            engine="neonize",
            environment={"MEDIA_ALLOWED_HOSTS": "127.0.0.1", "LEASE_SECONDS": "4"},
            host_environment=whatsapp.engine_environment(),
        )
        (ring.directory / "media").mkdir()
        phone, contact = whatsapp.phone(NUMBER), whatsapp.contact(RECIPIENT)
        session = await link(ring, phone)
        yield LinkedRing(ring, whatsapp, media, phone, contact, session)
        await ring.stop()


async def test_a_linked_session_shows_its_number_and_since_when_it_works(
    linked_ring: LinkedRing,
) -> None:
    seen = await linked_ring.ring.session(linked_ring.id)
    assert seen["status"] == "working"
    assert seen["phoneNumber"] == NUMBER
    assert seen["connectedAt"] is not None
    assert "token" not in seen


async def test_a_text_is_answered_200_with_whatsapps_own_id(linked_ring: LinkedRing) -> None:
    answer = await linked_ring.send(type="text", message="Grüße aus 東京 👋")
    assert answer.status_code == 200, answer.text
    body = answer.json()
    received = await linked_ring.contact.receive()
    assert body["messageId"] == received.id
    assert body["success"] is True
    assert body["status"] == "sent"
    assert received.text == "Grüße aus 東京 👋"
    assert received.sender == NUMBER
    assert "bot" not in received.node_tags


@pytest.mark.parametrize("source", ["url", "path"])
async def test_an_image_arrives_with_caption_type_and_bytes(
    linked_ring: LinkedRing, source: str
) -> None:
    data = png()
    answer = await linked_ring.send(
        type="image", mediaUrl=place(linked_ring, source, "photo.png", data), message="Look!"
    )
    assert answer.status_code == 200, answer.text
    received = await linked_ring.contact.receive()
    assert received.id == answer.json()["messageId"]
    assert (received.kind, received.caption, received.mime_type) == ("image", "Look!", "image/png")
    assert received.media == data
    assert "bot" not in received.node_tags


async def test_a_decompression_bomb_fails_clearly_and_costs_the_host_nothing(
    linked_ring: LinkedRing,
) -> None:
    """400 million pixels in 60 KB: decoded, they would take more than a gigabyte."""
    bomb = png_bomb(20_000, 20_000)
    assert len(bomb) < 100_000
    host = linked_ring.ring.processes["host-0"]
    before = peak_memory(host.pid), worker_of(linked_ring.ring, linked_ring.id)
    url = place(linked_ring, "url", "bomb.png", bomb)
    answers = await asyncio.gather(
        *(linked_ring.send(type="image", mediaUrl=url, message="boom") for _ in range(8))
    )
    assert {answer.status_code for answer in answers} == {413}, answers[0].text
    assert {answer.json()["code"] for answer in answers} == {"media_too_large"}
    assert "20000 x 20000 pixels" in answers[0].json()["error"]
    answer = await linked_ring.send(
        type="image", mediaUrl=place(linked_ring, "url", "ok.png", png())
    )
    assert answer.status_code == 200, answer.text
    assert (await linked_ring.contact.receive()).kind == "image"
    assert worker_of(linked_ring.ring, linked_ring.id) == before[1]
    assert peak_memory(host.pid) - before[0] < 30_000_000


def peak_memory(pid: int) -> int:
    """The most that a process has ever had in memory, in bytes."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) * 1024


@pytest.mark.parametrize("source", ["url", "path"])
async def test_a_video_arrives_with_caption_type_and_bytes(
    linked_ring: LinkedRing, source: str, video: bytes
) -> None:
    answer = await linked_ring.send(
        type="video", mediaUrl=place(linked_ring, source, "clip.mp4", video), message="Watch!"
    )
    assert answer.status_code == 200, answer.text
    received = await linked_ring.contact.receive()
    assert received.id == answer.json()["messageId"]
    assert (received.kind, received.caption, received.mime_type) == ("video", "Watch!", "video/mp4")
    assert received.media == video


@pytest.mark.parametrize("source", ["url", "path"])
async def test_a_document_arrives_with_name_caption_type_and_bytes(
    linked_ring: LinkedRing, source: str
) -> None:
    data = b"%PDF-1.4\n1 0 obj<<>>endobj\ntrailer<<>>\n%%EOF\n"
    answer = await linked_ring.send(
        type="document",
        mediaUrl=place(linked_ring, source, "file.pdf", data),
        fileName="my-document.pdf",
        message="Here's your document",
    )
    assert answer.status_code == 200, answer.text
    received = await linked_ring.contact.receive()
    assert received.id == answer.json()["messageId"]
    assert received.kind == "document"
    assert received.file_name == "my-document.pdf"
    assert received.caption == "Here's your document"
    assert received.mime_type == "application/pdf"
    assert received.media == data


async def test_a_documents_name_comes_from_its_address(linked_ring: LinkedRing) -> None:
    answer = await linked_ring.send(
        type="document", mediaUrl=place(linked_ring, "url", "annual report.txt", b"figures")
    )
    assert answer.status_code == 200, answer.text
    received = await linked_ring.contact.receive()
    assert received.file_name == "annual report.txt"
    assert not received.caption


def place(linked_ring: LinkedRing, source: str, name: str, data: bytes) -> str:
    """Put media where the product can fetch it; its URL or local path."""
    if source == "url":
        return linked_ring.media.put(name, data)
    path = Path(linked_ring.ring.directory) / "media" / name
    path.write_bytes(data)
    return name


async def test_a_number_that_is_not_on_whatsapp_is_said(linked_ring: LinkedRing) -> None:
    answer = await linked_ring.send(to="19995550000", type="text", message="hello?")
    assert answer.status_code == 500
    assert answer.json()["code"] == "not_on_whatsapp"


async def test_the_number_that_was_used_is_shown(linked_ring: LinkedRing) -> None:
    """As with Brazil's ninth digit: written with it, known to WhatsApp without it."""
    contact = linked_ring.whatsapp.contact("551187654321")
    contact.is_meant_by("5511987654321")
    answer = await linked_ring.send(to="5511987654321", type="text", message="oi")
    assert answer.status_code == 200, answer.text
    received = await contact.receive()
    assert received.id == answer.json()["messageId"]
    message = await linked_ring.ring.wait_for_message(answer.json()["id"], "sent")
    assert message["to"] == "551187654321"
    await contact.deliver(received.id)
    message = await linked_ring.ring.wait_for_message(answer.json()["id"], "delivered")
    assert message["to"] == "551187654321"
    assert linked_ring.whatsapp.numbers_asked_about.count("5511987654321") == 1


async def test_a_message_that_whatsapp_refuses_is_said(linked_ring: LinkedRing) -> None:
    linked_ring.phone.refuse_messages(error=479)
    try:
        answer = await linked_ring.send(type="text", message="refuse me")
    finally:
        linked_ring.phone.accept_messages()
    assert answer.status_code == 500
    assert answer.json()["code"] == "send_failed"


async def test_receipts_change_the_message(linked_ring: LinkedRing) -> None:
    answer = await linked_ring.send(type="text", message="receipts")
    received = await linked_ring.contact.receive()
    await linked_ring.contact.deliver(received.id)
    await linked_ring.ring.wait_for_message(answer.json()["id"], "delivered")
    await linked_ring.contact.read(received.id)
    message = await linked_ring.ring.wait_for_message(answer.json()["id"], "read")
    assert message["deliveredAt"] is not None
    assert message["readAt"] is not None


async def test_linking_by_pairing_code(linked_ring: LinkedRing) -> None:
    phone = linked_ring.whatsapp.phone("447911123456")
    session = await linked_ring.ring.create_session("by code")
    await linked_ring.ring.wait_for_status(session["sessionId"], "scan_qr")
    answer = await linked_ring.ring.admin.post(
        f"/api/sessions/{session['sessionId']}/pairing-code", json={"phoneNumber": phone.number}
    )
    assert answer.status_code == 200, answer.text
    await phone.enter_pairing_code(answer.json()["pairingCode"])
    seen = await linked_ring.ring.wait_for_status(session["sessionId"], "working")
    assert seen["phoneNumber"] == phone.number


async def test_a_text_queued_while_disconnected_goes_out_after_the_reconnect(
    linked_ring: LinkedRing,
) -> None:
    linked_ring.whatsapp.offline()
    try:
        await linked_ring.ring.wait_for_status(linked_ring.id, "disconnected")
        sending = asyncio.create_task(linked_ring.send(type="text", message="later"))
        await eventually(
            lambda: queued(linked_ring, "later"), what="the message is shown as queued"
        )
    finally:
        linked_ring.whatsapp.online()
    answer = await sending
    assert answer.status_code in {200, 202}, answer.text
    await linked_ring.ring.wait_for_message(answer.json()["id"], "sent")
    received = await linked_ring.contact.receive()
    assert received.text == "later"
    await linked_ring.ring.wait_for_status(linked_ring.id, "working")


async def queued(linked_ring: LinkedRing, _text: str) -> bool:
    """Whether some message of the session is queued."""
    answer = await linked_ring.ring.admin.get(
        "/api/messages", params={"sessionId": linked_ring.id, "status": "queued"}
    )
    return bool(answer.json()["items"])


async def test_a_killed_worker_comes_back_without_a_qr(linked_ring: LinkedRing) -> None:
    before = await linked_ring.ring.session(linked_ring.id)
    pid = worker_of(linked_ring.ring, linked_ring.id)
    os.kill(pid, signal.SIGKILL)

    async def back() -> bool:
        seen = await linked_ring.ring.session(linked_ring.id)
        return bool(seen["status"] == "working" and seen["connectedAt"] != before["connectedAt"])

    await eventually(back, what="working again after the worker was killed")
    answer = await linked_ring.send(type="text", message="after the crash")
    assert answer.status_code == 200, answer.text
    assert (await linked_ring.contact.receive()).text == "after the crash"


async def test_a_receipt_proves_a_send_whose_outcome_was_unknown(linked_ring: LinkedRing) -> None:
    """Its worker is killed after WhatsApp took the message, and before it acknowledged it."""
    linked_ring.contact.auto_deliver = False
    linked_ring.phone.hold_acks()
    sending = asyncio.create_task(linked_ring.send(type="text", message="taken, not acknowledged"))
    received = await linked_ring.contact.receive()
    os.kill(worker_of(linked_ring.ring, linked_ring.id), signal.SIGKILL)
    linked_ring.phone.forget_acks()
    answer = await sending
    assert (answer.status_code, answer.json()["code"]) == (500, "outcome_unknown"), answer.text
    message = await linked_ring.ring.wait_for_message(answer.json()["id"], "unknown")
    assert message["messageId"] is None
    await linked_ring.ring.wait_for_status(linked_ring.id, "working")
    await linked_ring.contact.deliver(received.id)
    message = await linked_ring.ring.wait_for_message(answer.json()["id"], "delivered")
    assert message["messageId"] == received.id
    assert message["error"] is None
    await linked_ring.contact.read(received.id)
    await linked_ring.ring.wait_for_message(answer.json()["id"], "read")


async def test_no_ended_process_is_left_behind(linked_ring: LinkedRing) -> None:
    """The engine starts a shell while it is loaded, and never asks how it ended."""
    answer = await linked_ring.send(
        type="image", mediaUrl=place(linked_ring, "url", "last.png", png())
    )
    assert answer.status_code == 200, answer.text
    host = psutil.Process(linked_ring.ring.processes["host-0"].pid)

    async def none_is_left() -> bool:
        below = host.children(recursive=True)
        assert worker_of(linked_ring.ring, linked_ring.id) in [process.pid for process in below]
        assert not [p for p in below if p.status() == psutil.STATUS_ZOMBIE]
        return True

    await eventually(none_is_left, what="no zombie is below the host")


async def test_unlinked_by_the_phone_is_logged_out_and_refuses(linked_ring: LinkedRing) -> None:
    phone = linked_ring.whatsapp.phone("4915112345678")
    session = await link(linked_ring.ring, phone, "to be unlinked")
    await phone.unlink()
    await linked_ring.ring.wait_for_status(session["sessionId"], "logged_out")
    answer = await linked_ring.ring.send(session["token"], to=RECIPIENT, type="text", message="no")
    assert answer.status_code == 409
    assert answer.json()["code"] == "session_logged_out"
