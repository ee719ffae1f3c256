"""A process dies at each point of a message's way; then everything recovers and the answer is true."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.deadlines import eventually
from tests.faults import recorder
from tests.faults.field import recording
from tests.system.conftest import NewRing
from tests.system.event_consumer import EventConsumer, consuming
from tests.system.ring import Ring
from wa_runtime.fault_points import FaultPoint

TO = "919876543210"
CLIENTS = 20
WAIT_SECONDS = 40
"""Shorter than a client's patience, and longer than any host takes to come back."""

DIES = {
    FaultPoint.PROJECTION_STORED: "projector",
    FaultPoint.PROJECTION_ACKED: "projector",
}
"""Which process comes to the point; all others are the host's."""

UNKNOWN = {
    FaultPoint.INTENT_STORED,
    FaultPoint.COMMAND_ACKED,
    FaultPoint.SEND_STARTED,
    FaultPoint.ENGINE_CALLED,
}
"""Between these a text's start is stored and its end is not: nobody can know."""

REACHES_WHATSAPP = set(FaultPoint) - UNKNOWN | {FaultPoint.ENGINE_CALLED}


@dataclass
class ArmedRing:
    """A ring with a recorder, and a file that arms a fault point."""

    ring: Ring
    session: dict[str, Any]
    armed: Path
    log: Path
    consumer: EventConsumer

    def reached(self, text: str) -> int:
        """How often a text reached the recorder."""
        return sum(one.text == text for one in recorder.read(self.log))


@pytest.fixture(scope="module")
async def armed_ring(
    new_ring: NewRing, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[ArmedRing]:
    """One for the module."""
    directory = tmp_path_factory.mktemp("faults")
    async with AsyncExitStack() as stack:
        address = await stack.enter_async_context(recording(directory / "recorded.jsonl"))
        ring = await new_ring(
            apis=2,
            environment={
                "LEASE_SECONDS": "2",
                "SIMULATED_LINKS_AFTER": "0.1",
                "SIMULATED_SERVER": address,
                "SEND_WAIT_SECONDS": str(WAIT_SECONDS),
                "FAULT_POINT_FILE": str(directory / "armed"),
            },
        )
        consumer = await stack.enter_async_context(consuming(ring.broker))
        session = await ring.create_session("faults")
        await ring.wait_for_status(session["sessionId"], "working")
        yield ArmedRing(ring, session, directory / "armed", directory / "recorded.jsonl", consumer)
        await ring.stop()


@pytest.mark.parametrize("point", list(FaultPoint))
async def test_the_answer_is_true_wherever_a_process_dies(
    armed_ring: ArmedRing, point: FaultPoint
) -> None:
    ring, name = armed_ring.ring, DIES.get(point, "host-0")
    await ring.wait_for_status(armed_ring.session["sessionId"], "working")
    key = f"dies-at-{point}"
    if point is FaultPoint.RELAY_MARKED:
        # A mark is kept for every event. The one after this message's end is meant.
        sending = asyncio.create_task(send(armed_ring, key))
        await sending
        armed_ring.armed.write_text(point)
        another = asyncio.create_task(send(armed_ring, f"after-{key}"))
    else:
        armed_ring.armed.write_text(point)
        another = sending = asyncio.create_task(send(armed_ring, key))
    child = ring.processes[name]
    await eventually(lambda: not child.alive, what=f"{name} died at {point}")
    assert not armed_ring.armed.exists()
    await ring.restart(name)
    answer, _ = await sending, await another
    again = await send(armed_ring, key)
    if point in UNKNOWN:
        assert answer.status_code == 500, answer.text
        assert answer.json()["code"] == "outcome_unknown"
    else:
        assert answer.status_code == 200, answer.text
        assert answer.json()["messageId"] == next(
            one.message_id for one in recorder.read(armed_ring.log) if one.text == key
        )
    assert again.status_code == answer.status_code
    assert again.json()["id"] == answer.json()["id"]
    assert again.headers["Idempotent-Replayed"] == "true"
    assert armed_ring.reached(key) == (1 if point in REACHES_WHATSAPP else 0)
    message = await ring.wait_for_message(
        answer.json()["id"], "unknown" if point in UNKNOWN else "sent"
    )
    end = "message.unknown" if point in UNKNOWN else "message.sent"
    await eventually(
        lambda: any(
            event["data"]["id"] == message["id"]
            for event in armed_ring.consumer.of(armed_ring.session["sessionId"], end)
        ),
        what=f"the consumer has {end}",
    )


@pytest.mark.parametrize("point", [FaultPoint.COMMAND_RECEIVED, FaultPoint.OUTCOME_STORED])
async def test_a_key_used_by_many_at_once_over_two_apis_and_a_crash_is_one_message(
    armed_ring: ArmedRing, point: FaultPoint
) -> None:
    await armed_ring.ring.wait_for_status(armed_ring.session["sessionId"], "working")
    key, host = f"many-at-{point}", armed_ring.ring.processes["host-0"]
    armed_ring.armed.write_text(point)
    began = time.monotonic()
    async with asyncio.TaskGroup() as group:
        sends = [
            group.create_task(send(armed_ring, key, api=number % 2)) for number in range(CLIENTS)
        ]
        await eventually(lambda: not host.alive, what=f"the host died at {point}")
        await armed_ring.ring.restart("host-0")
    assert time.monotonic() - began < WAIT_SECONDS, "somebody was not told and had to look it up"
    answers = [task.result() for task in sends]
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.content for answer in answers}) == 1
    assert armed_ring.reached(key) == 1
    other = await send(armed_ring, key, message="another text")
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_conflict")


async def send(armed_ring: ArmedRing, key: str, *, api: int = 0, message: str | None = None) -> Any:
    """A text with a key, for as long as it takes to be accepted."""
    return await armed_ring.ring.send(
        armed_ring.session["token"],
        api=api,
        headers={"Idempotency-Key": key},
        to=TO,
        type="text",
        message=message or key,
    )


async def test_afterwards_the_events_are_gapless(armed_ring: ArmedRing) -> None:
    armed_ring.consumer.assert_gapless()
