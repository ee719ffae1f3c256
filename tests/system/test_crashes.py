"""Processes die by SIGKILL: a worker alone, the host, everything. On the real engine."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest

from tests.deadlines import eventually
from tests.system.conftest import NewRing
from tests.system.event_consumer import EventConsumer, consuming
from tests.system.linking import link, worker_of
from tests.system.ring import Ring
from tests.whatsapp import Contact, Phone, StandIn

SESSIONS = 21
TO = "12345678900"
LEASE_SECONDS = 3


@dataclass(frozen=True)
class LinkedRing:
    """A ring of linked sessions, their phones, and an event consumer since before all of them."""

    ring: Ring
    whatsapp: StandIn
    contact: Contact
    phones: list[Phone]
    sessions: list[dict[str, Any]]
    consumer: EventConsumer

    async def connected_at(self) -> dict[str, str]:
        """Since when each session works, if REST shows all of them as working."""
        answer = await self.ring.admin.get("/api/sessions", params={"limit": "200"})
        shown = answer.json()["items"]
        assert [one["status"] for one in shown] == ["working"] * SESSIONS, shown
        return {one["sessionId"]: one["connectedAt"] for one in shown}

    async def texts(self) -> list[str | None]:
        """What the contact has received so far."""
        return [one.text for one in self.contact.inbox]

    def start(self, number: int, text: str) -> "asyncio.Task[Any]":
        """Send a text through that session, and wait for the answer in a task."""
        token = self.sessions[number]["token"]
        return asyncio.create_task(self.ring.send(token, to=TO, type="text", message=text))

    async def queue(self, number: int, text: str) -> str:
        """A text that is taken at once; its id."""
        answer = await self.ring.send(
            self.sessions[number]["token"],
            headers={"Prefer": "respond-async"},
            to=TO,
            type="text",
            message=text,
        )
        assert answer.status_code == 202, answer.text
        return str(answer.json()["id"])

    async def received(self, text: str) -> None:
        """Wait until the contact has this text."""
        await eventually(
            lambda: any(one.text == text for one in self.contact.inbox),
            what=f"{text!r} arrives",
        )


@pytest.fixture(scope="module")
async def linked_ring(new_ring: NewRing) -> AsyncIterator[LinkedRing]:
    """One ring for the module; every test leaves it working again."""
    async with StandIn.start() as whatsapp:
        ring = await new_ring(
            engine="neonize",
            environment={"LEASE_SECONDS": str(LEASE_SECONDS)},
            host_environment=whatsapp.engine_environment(),
        )
        async with consuming(ring.broker) as consumer:
            phones = [whatsapp.phone(str(919800000000 + number)) for number in range(SESSIONS)]
            sessions = [await link(ring, phone) for phone in phones]
            yield LinkedRing(ring, whatsapp, whatsapp.contact(TO), phones, sessions, consumer)
        await ring.stop()


async def test_a_killed_worker_is_back_soon_and_no_other_session_notices(
    linked_ring: LinkedRing,
) -> None:
    victim = linked_ring.sessions[0]["sessionId"]
    before = await eventually(linked_ring.connected_at, what="all work")
    seen = {
        s["sessionId"]: len(linked_ring.consumer.of(s["sessionId"])) for s in linked_ring.sessions
    }
    os.kill(worker_of(linked_ring.ring, victim), signal.SIGKILL)

    async def back() -> dict[str, str]:
        now = await linked_ring.connected_at()
        assert now[victim] != before[victim]
        return now

    now = await eventually(back, what="the session works again")
    assert {id_ for id_ in now if now[id_] != before[id_]} == {victim}
    answers = [await linked_ring.start(number, f"after {number}") for number in range(SESSIONS)]
    assert {answer.status_code for answer in answers} == {200}
    for session in linked_ring.sessions:
        types = [
            e["type"]
            for e in linked_ring.consumer.of(session["sessionId"])[seen[session["sessionId"]] :]
        ]
        changes = [type_ for type_ in types if type_.startswith("session.")]
        if session["sessionId"] == victim:
            assert changes[0] == "session.disconnected"
            assert changes[-1] == "session.connected"
            assert "session.qr_issued" not in changes
        else:
            assert changes == []


async def test_rest_stops_saying_working_when_the_only_host_is_killed(
    linked_ring: LinkedRing,
) -> None:
    await eventually(linked_ring.connected_at, what="all work")
    linked_ring.phones[1].mute()
    await linked_ring.ring.kill_host()

    async def silent() -> bool:
        answer = await linked_ring.ring.admin.get("/api/sessions", params={"limit": "200"})
        shown = {(one["status"], one["statusReason"]) for one in answer.json()["items"]}
        return shown == {("disconnected", "host_silent")}

    await eventually(silent, what="REST says that the host is silent")
    waiting = linked_ring.start(2, "queued while no host lives")
    await linked_ring.ring.restart("host-0")
    answer = await waiting
    assert answer.status_code == 200, answer.text

    muted = linked_ring.sessions[1]["sessionId"]
    seen = await linked_ring.ring.wait_for_status(muted, "connecting")
    assert seen["statusReason"] == "host_changed"
    message_id = await linked_ring.queue(1, "while connecting")
    await linked_ring.ring.wait_for_message(message_id, "queued")
    linked_ring.phones[1].unmute()
    await linked_ring.ring.admin.post(f"/api/sessions/{muted}/restart")
    await linked_ring.ring.wait_for_message(message_id, ("sent", "delivered"))
    await eventually(linked_ring.connected_at, what="all work")


async def test_after_kill_9_of_everything_all_come_back_and_what_was_queued_goes_out(
    linked_ring: LinkedRing,
) -> None:
    await eventually(linked_ring.connected_at, what="all work")
    shown = [e for e in linked_ring.consumer.events if e["type"] == "session.qr_issued"]
    phone = linked_ring.phones[3]
    phone.hold_acks()
    in_flight = await linked_ring.queue(3, "in flight")
    await linked_ring.received("in flight")
    behind = await linked_ring.queue(3, "behind it")
    await linked_ring.ring.admin.post(f"/api/sessions/{linked_ring.sessions[4]['sessionId']}/stop")
    stopped = await linked_ring.queue(4, "for a stopped session")
    for message_id in (behind, stopped):
        await linked_ring.ring.wait_for_message(message_id, "queued")

    workers = [worker_of(linked_ring.ring, s["sessionId"]) for s in linked_ring.sessions]
    for name in linked_ring.ring.processes:
        await linked_ring.ring.kill(name)
    await eventually(lambda: not any(_lives(pid) for pid in workers), what="no worker is left")
    phone.forget_acks()
    for name in linked_ring.ring.processes:
        await linked_ring.ring.restart(name)

    unknown = await linked_ring.ring.wait_for_message(in_flight, "unknown")
    assert unknown["error"]["code"] == "outcome_unknown"
    await linked_ring.ring.wait_for_message(behind, ("sent", "delivered"))
    await linked_ring.ring.admin.post(
        f"/api/sessions/{linked_ring.sessions[4]['sessionId']}/restart"
    )
    await linked_ring.ring.wait_for_message(stopped, ("sent", "delivered"))
    await eventually(linked_ring.connected_at, what="all work again")
    await linked_ring.received("for a stopped session")
    for text in ("in flight", "behind it", "for a stopped session"):
        assert (await linked_ring.texts()).count(text) == 1
    assert [e for e in linked_ring.consumer.events if e["type"] == "session.qr_issued"] == shown
    linked_ring.consumer.assert_gapless()


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
