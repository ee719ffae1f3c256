"""Every state of a session on the real engine, and what a send does there."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from dataclasses import dataclass
from itertools import count
from typing import Any

import httpx
import pytest

from tests.deadlines import eventually
from tests.system.conftest import NewRing
from tests.system.linking import link, worker_of
from tests.system.ring import Ring
from tests.whatsapp import Contact, Phone, StandIn, refusals

TO = "12345678900"
_numbers = count(4915110000001)


@dataclass(frozen=True)
class LinkedRing:
    """A ring whose engine talks to the stand-in."""

    ring: Ring
    whatsapp: StandIn
    contact: Contact

    async def linked(self) -> "Linked":
        """A new working session with a phone of its own."""
        phone = self.whatsapp.phone(str(next(_numbers)))
        return Linked(self, phone, await link(self.ring, phone))


@dataclass(frozen=True)
class Linked:
    """A session and its phone."""

    linked_ring: LinkedRing
    phone: Phone
    session: dict[str, Any]

    @property
    def id(self) -> str:
        """The session's id."""
        return str(self.session["sessionId"])

    async def ask(self, what: str) -> None:
        """Restart, stop or log out."""
        answer = await self.linked_ring.ring.admin.post(f"/api/sessions/{self.id}/{what}")
        assert answer.status_code == 202, answer.text

    async def becomes(self, status: str, reason: str | None = None) -> dict[str, Any]:
        """Wait for a status, with this reason if one is given."""

        async def shown() -> dict[str, Any]:
            session = await self.linked_ring.ring.wait_for_status(self.id, status)
            assert reason in {None, session["statusReason"]}
            return session

        session: dict[str, Any] = await eventually(shown, what=f"{status}, {reason}")
        return session

    async def send(self, text: str, *, wait: bool = True) -> httpx.Response:
        """A text to the contact."""
        headers = {} if wait else {"Prefer": "respond-async"}
        return await self.linked_ring.ring.send(
            self.session["token"], headers=headers, to=TO, type="text", message=text
        )

    async def queue(self, text: str) -> str:
        """A text that is taken and queued; its id."""
        answer = await self.send(text, wait=False)
        assert answer.status_code == 202, answer.text
        message_id: str = answer.json()["id"]
        await self.linked_ring.ring.wait_for_message(message_id, "queued")
        return message_id

    async def arrives(self, message_id: str, text: str) -> None:
        """Wait until a queued text was sent, once."""
        await self.linked_ring.ring.wait_for_message(message_id, ("sent", "delivered"))
        await self.is_out(text)
        assert [one.text for one in self.linked_ring.contact.inbox].count(text) == 1

    async def is_out(self, text: str) -> None:
        """Wait until the contact has this text."""
        await eventually(
            lambda: any(one.text == text for one in self.linked_ring.contact.inbox),
            what=f"{text!r} arrives",
        )

    async def refuses(self, code: str) -> None:
        """A send is answered 409 with this code."""
        answer = await self.send("no")
        assert (answer.status_code, answer.json()["code"]) == (409, code), answer.text


@pytest.fixture(scope="module")
async def linked_ring(new_ring: NewRing) -> AsyncIterator[LinkedRing]:
    """One ring and one stand-in for the module."""
    async with StandIn.start() as whatsapp:
        ring = await new_ring(
            engine="neonize",
            environment={"LEASE_SECONDS": "3", "LOGIN_SECONDS": "5"},
            host_environment=whatsapp.engine_environment(),
        )
        yield LinkedRing(ring, whatsapp, whatsapp.contact(TO))
        await ring.stop()


async def test_scan_qr_refuses(linked_ring: LinkedRing) -> None:
    session = await linked_ring.ring.create_session()
    await linked_ring.ring.wait_for_status(session["sessionId"], "scan_qr")
    linked = Linked(linked_ring, linked_ring.whatsapp.phone(str(next(_numbers))), session)
    await linked.refuses("session_scan_qr")
    await linked.ask("stop")


async def test_starting_queues_and_a_login_without_an_answer_is_tried_anew(
    linked_ring: LinkedRing,
) -> None:
    linked = await linked_ring.linked()
    linked.phone.mute()
    await linked.ask("restart")
    await linked.becomes("starting")
    message_id = await linked.queue("while starting")
    lost = await linked.becomes("disconnected")
    assert lost["statusReason"] == "login_timeout"
    linked.phone.unmute()
    await linked.becomes("working")
    await linked.arrives(message_id, "while starting")


async def test_stopped_queues_once_the_send_in_flight_is_acknowledged(
    linked_ring: LinkedRing,
) -> None:
    linked = await linked_ring.linked()
    linked.phone.hold_acks()
    in_flight = asyncio.create_task(linked.send("before the stop"))
    await linked.is_out("before the stop")
    stopping = asyncio.create_task(linked.ask("stop"))
    stopped = await linked.becomes("stopped")
    linked.phone.release_acks()
    answer = await in_flight
    assert answer.status_code == 200, answer.text
    await stopping
    assert stopped["desiredState"] == "stopped"
    await linked.phone.wait_disconnected()
    message_id = await linked.queue("while stopped")
    await linked.ask("restart")
    await linked.becomes("working")
    await linked.arrives(message_id, "while stopped")


async def test_restricted_queues_until_whatsapp_lets_it_work_again(linked_ring: LinkedRing) -> None:
    linked = await linked_ring.linked()
    linked.phone.refuse_login(402, code=101, expire=3)
    await linked.phone.drop()
    restricted = await linked.becomes("restricted")
    assert restricted["statusReason"] == "send_to_too_many_people"
    assert restricted["connectedAt"] is None
    message_id = await linked.queue("while restricted")
    linked.phone.allow_login()
    await linked.becomes("working")
    await linked.arrives(message_id, "while restricted")


async def test_a_number_that_may_open_no_new_chats_goes_on_in_known_ones(
    linked_ring: LinkedRing,
) -> None:
    linked, whatsapp = await linked_ring.linked(), linked_ring.whatsapp
    await linked.send("before the restriction")
    writer, stranger = (whatsapp.contact(str(next(_numbers))) for _ in range(2))
    whatsapp.refusals.opens_no_chats = True

    async def queue(to: str) -> str:
        answer = await linked_ring.ring.send(
            linked.session["token"],
            headers={"Prefer": "respond-async"},
            to=to,
            type="text",
            message="first",
        )
        assert answer.status_code == 202, answer.text
        return str(answer.json()["id"])

    waits = await queue(stranger.number)
    restricted = await linked.becomes("restricted", "reachout_timelock")
    assert restricted["restrictedUntil"] is None
    shown = await linked_ring.ring.admin.get(f"/api/messages/{waits}")
    assert shown.json()["status"] == "queued"
    for _ in range(2):  # before and after a take-over
        assert (await linked.send("to a known chat")).status_code == 200
        await linked_ring.ring.kill_host()
        await linked_ring.ring.restart("host-0")
        await linked.becomes("restricted", "reachout_timelock")
    await writer.send_text(linked.phone.number, "I write first")
    await linked_ring.ring.wait_for_message(await queue(writer.number), ("sent", "delivered"))
    assert stranger.inbox == []
    whatsapp.refusals.opens_no_chats = False
    await linked.ask("restart")  # the next try comes at once
    await linked.becomes("working")
    await linked_ring.ring.wait_for_message(waits, ("sent", "delivered"))


@pytest.mark.parametrize(("refusal", "reason"), [(403, "locked"), (406, "banned")])
async def test_banned_refuses_and_fails_the_backlog(
    linked_ring: LinkedRing, refusal: int, reason: str
) -> None:
    linked = await linked_ring.linked()
    await linked.ask("stop")
    await linked.becomes("stopped")
    message_id = await linked.queue("before the ban")
    linked.phone.refuse_login(refusal)
    await linked.ask("restart")
    banned = await linked.becomes("banned")
    assert banned["statusReason"] == reason
    failed = await linked_ring.ring.wait_for_message(message_id, "failed")
    assert failed["error"]["code"] == "session_banned"
    await linked.refuses("session_banned")
    await linked.ask("restart")
    await linked.becomes("scan_qr")


async def test_a_refused_client_version_keeps_link_and_queue(linked_ring: LinkedRing) -> None:
    linked = await linked_ring.linked()
    linked.phone.refuse_login(405)
    await linked.phone.drop()
    outdated = await linked.becomes("disconnected", "client_outdated")
    assert "refuses client version 2.3000." in outdated["lastError"]
    message_id = await linked.queue("while outdated")
    linked.phone.allow_login()
    await linked.ask("restart")
    await linked.becomes("working")
    await linked.arrives(message_id, "while outdated")


async def test_failed_refuses(linked_ring: LinkedRing) -> None:
    linked_ring.whatsapp.refusals.linking = refusals.LOCKED
    session = await linked_ring.ring.create_session()
    linked = Linked(linked_ring, linked_ring.whatsapp.phone(str(next(_numbers))), session)
    failed = await linked.becomes("failed", "linking_locked")
    assert failed["lastError"] == "This account is locked. Open WhatsApp on the phone."
    await linked.refuses("session_failed")
    linked_ring.whatsapp.refusals.linking = None
    await linked.ask("restart")
    await linked.becomes("scan_qr")


@pytest.mark.parametrize("while_working", [True, False])
async def test_log_out_unlinks_and_fails_the_backlog(
    linked_ring: LinkedRing, while_working: bool
) -> None:
    linked = await linked_ring.linked()
    if while_working:
        linked.phone.hold_acks()
        sending = asyncio.create_task(linked.send("never acknowledged"))
        await linked.is_out("never acknowledged")
        message_id = await linked.queue("behind it")
    else:
        await linked.ask("stop")
        await linked.becomes("stopped")
        message_id = await linked.queue("before the log-out")
    await linked.ask("logout")
    await linked.becomes("logged_out")
    assert not linked.phone.is_linked
    failed = await linked_ring.ring.wait_for_message(message_id, "failed")
    assert failed["error"]["code"] == "session_logged_out"
    if while_working:
        answer = await sending
        assert (answer.status_code, answer.json()["code"]) == (500, "outcome_unknown")
    await linked.refuses("session_logged_out")


async def test_logged_out_by_the_phone_while_away(linked_ring: LinkedRing) -> None:
    linked = await linked_ring.linked()
    await linked.ask("stop")
    await linked.becomes("stopped")
    waiting = asyncio.create_task(linked.send("for nobody"))
    await eventually(lambda: queued(linked), what="the message is queued")
    await linked.phone.unlink()
    await linked.ask("restart")
    seen = await linked.becomes("logged_out")
    assert seen["statusReason"] == "phone"
    answer = await waiting
    assert (answer.status_code, answer.json()["code"]) == (409, "session_logged_out")


async def queued(linked: Linked) -> bool:
    """Whether a message of the session waits."""
    answer = await linked.linked_ring.ring.admin.get(
        "/api/messages", params={"sessionId": linked.id, "status": "queued"}
    )
    return bool(answer.json()["items"])


async def test_delete_unlinks_answers_who_waits_and_forgets(linked_ring: LinkedRing) -> None:
    linked = await linked_ring.linked()
    await linked.ask("stop")
    await linked.becomes("stopped")
    waiting = asyncio.create_task(linked.send("too late"))
    await eventually(lambda: queued(linked), what="the message is queued")
    answer = await linked_ring.ring.admin.delete(f"/api/sessions/{linked.id}")
    assert answer.status_code == 202
    answer = await waiting
    assert (answer.status_code, answer.json()["code"]) == (409, "session_deleted")
    assert not linked.phone.is_linked
    assert (await linked.send("no")).status_code == 401

    async def forgotten() -> bool:
        seen = await linked_ring.ring.admin.get(f"/api/sessions/{linked.id}")
        return seen.status_code == 404

    await eventually(forgotten, what="the session is forgotten")


async def test_replaced_by_another_program_does_not_fight(linked_ring: LinkedRing) -> None:
    linked = await linked_ring.linked()
    await linked.phone.replace()
    seen = await linked.becomes("disconnected")
    assert seen["statusReason"] == "stream_replaced"
    message_id = await linked.queue("while replaced")
    await linked.ask("restart")
    await linked.becomes("working")
    await linked.arrives(message_id, "while replaced")


async def test_a_connection_that_is_up_but_silent_and_a_process_that_is_frozen_are_found(
    linked_ring: LinkedRing,
) -> None:
    """Both say why, and both work again by themselves. The engine's keep-alive takes its time."""
    muted, frozen = await linked_ring.linked(), await linked_ring.linked()
    muted.phone.mute()
    pid = worker_of(linked_ring.ring, frozen.id)
    os.kill(pid, signal.SIGSTOP)
    lost = await linked_ring.ring.wait_for_status(frozen.id, "disconnected")
    assert lost["statusReason"] == "engine_silent"
    lost = await linked_ring.ring.wait_for_status(muted.id, "disconnected")
    assert lost["statusReason"] == "keepalive_timeout"
    muted.phone.unmute()
    for linked in (frozen, muted):
        await linked_ring.ring.wait_for_status(linked.id, "working", timeout=60)
        answer = await linked.send("heard again")
        assert answer.status_code == 200, answer.text
