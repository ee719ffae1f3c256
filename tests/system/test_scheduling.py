"""`sendAt`: accepted now, sent then, over restarts and fail-over; cancelled for certain."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from tests.deadlines import eventually
from tests.system.conftest import NewRing
from tests.system.event_consumer import EventConsumer, consuming
from tests.system.ring import Ring

TO = "919876543210"
TEXT: dict[str, Any] = {"to": TO, "type": "text", "message": "later"}


class Linked:
    """A working session, and the events of its ring."""

    def __init__(self, ring: Ring, session: dict[str, Any], events: EventConsumer) -> None:
        self.ring = ring
        self.token = str(session["token"])
        self.id = str(session["sessionId"])
        self.events = events


@pytest.fixture(scope="module")
async def linked(new_ring: NewRing) -> AsyncIterator[Linked]:
    """One session of the simulated engine, on two hosts with a short lease."""
    ring = await new_ring(
        environment={
            "SIMULATED_LINKS_AFTER": "0.1",
            "LEASE_SECONDS": "3",
            "RETENTION_DAYS": "40",
            "SESSION_RATE_PER_MINUTE": "100000",
        }
    )
    async with consuming(ring.broker) as events:
        session = await ring.create_session("scheduling")
        await ring.wait_for_status(session["sessionId"], "working")
        yield Linked(ring, session, events)
    await ring.stop()


def in_seconds(seconds: float) -> str:
    """RFC 3339."""
    return (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat()


async def test_a_message_is_accepted_now_and_sent_then(linked: Linked) -> None:
    at = in_seconds(3)
    answer = await linked.ring.send(linked.token, **TEXT, sendAt=at, reference="later")
    assert answer.status_code == 202, answer.text
    told = answer.json()
    assert (told["status"], told["messageId"]) == ("scheduled", None)
    assert answer.headers["Location"] == f"/api/messages/{told['id']}"
    found = await linked.ring.wait_for_message(told["id"], "scheduled")
    assert datetime.fromisoformat(found["sendAt"]) == datetime.fromisoformat(at)
    listed = await linked.ring.admin.get("/api/messages?status=scheduled")
    assert told["id"] in [one["id"] for one in listed.json()["items"]]
    sent = await linked.ring.wait_for_message(told["id"], ["sent", "delivered"])
    assert sent["sentAt"] >= found["sendAt"]
    assert (sent["createdAt"], sent["sendAt"]) == (found["createdAt"], found["sendAt"])
    kinds = [
        one["type"]
        for one in linked.events.of(linked.id)
        if one["data"].get("id") == told["id"] and one["type"] != "message.delivered"
    ]
    assert kinds == ["message.scheduled", "message.queued", "message.sent"]


async def test_a_zone_counts_and_a_repeat_is_the_same_message(linked: Linked) -> None:
    at = datetime.now(UTC) + timedelta(hours=5)
    headers = {"Idempotency-Key": "tomorrow"}
    east = at.astimezone(tz=ZoneInfo("Asia/Kolkata")).isoformat()
    first = await linked.ring.send(linked.token, headers=headers, **TEXT, sendAt=east)
    again = await linked.ring.send(linked.token, headers=headers, **TEXT, sendAt=at.isoformat())
    assert (first.status_code, again.status_code) == (202, 202), again.text
    assert first.json() == again.json()
    assert again.headers["Idempotent-Replayed"] == "true"
    found = await linked.ring.wait_for_message(first.json()["id"], "scheduled")
    assert datetime.fromisoformat(found["sendAt"]) == at


async def test_it_is_cancelled(linked: Linked) -> None:
    answer = await linked.ring.send(linked.token, **TEXT, sendAt=in_seconds(3600))
    key = answer.json()["id"]
    await linked.ring.wait_for_message(key, "scheduled")
    cancelled = await linked.ring.admin.post(f"/api/messages/{key}/cancel")
    assert (cancelled.status_code, cancelled.json()["status"]) == (200, "cancelled")
    again = await linked.ring.admin.post(f"/api/messages/{key}/cancel")
    assert (again.status_code, again.json()["code"]) == (409, "not_cancellable")


@pytest.mark.parametrize(
    "wrong",
    [
        "tomorrow",
        "2026-01-02",
        "2199-01-02T03:04:05",
        1_800_000_000,
        "2020-01-02T03:04:05Z",
        in_seconds(-3600),
        in_seconds(31 * 86_400),
    ],
    ids=["words", "a day", "no zone", "a number", "long ago", "an hour ago", "in 31 days"],
)
async def test_what_is_no_time_is_refused(linked: Linked, wrong: object) -> None:
    answer = await linked.ring.send(linked.token, **TEXT, sendAt=wrong)
    assert answer.status_code == 400, answer.text
    assert answer.json()["details"][0]["field"] == "sendAt"


async def test_killed_hosts_lose_double_and_hurry_none(linked: Linked) -> None:
    await linked.ring.add_host()
    start = datetime.now(UTC) + timedelta(seconds=20)
    times = [start + timedelta(milliseconds=100 * number) for number in range(120)]
    for batch in range(0, 120, 20):
        answers = await asyncio.gather(
            *(
                linked.ring.send(linked.token, **TEXT, sendAt=at.isoformat(), reference="many")
                for at in times[batch : batch + 20]
            )
        )
        assert {answer.status_code for answer in answers} == {202}, answers[0].text

    def are_sent(count: int) -> bool:
        found = linked.events.of(linked.id, "message.sent")
        return len([one for one in found if one["data"]["reference"] == "many"]) >= count

    for number, count in enumerate((20, 60)):
        await eventually(partial(are_sent, count), what=f"{count} are sent")
        await linked.ring.kill_host(number)
        await linked.ring.restart(f"host-{number}")

    async def ended() -> list[dict[str, Any]]:
        listed = await linked.ring.admin.get("/api/messages?reference=many&limit=200")
        items: list[dict[str, Any]] = listed.json()["items"]
        assert len(items) == 120
        assert {one["status"] for one in items} <= {"sent", "delivered", "unknown"}
        return items

    items = await eventually(ended, what="all are sent")
    for one in items:
        assert one["status"] == "unknown" or one["sentAt"] >= one["sendAt"], one
    events = [e for e in linked.events.of(linked.id) if e["data"].get("reference") == "many"]
    queued = [e["data"]["id"] for e in events if e["type"] == "message.queued"]
    assert len(queued) == len(set(queued)) == 120
