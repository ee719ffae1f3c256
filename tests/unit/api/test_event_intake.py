"""What the intake holds in memory, and in which order it hands on."""

import asyncio
import json
from collections.abc import Callable, Sequence
from typing import Any
from unittest.mock import Mock

import pytest
from prometheus_client import CollectorRegistry

from tests.deadlines import eventually
from wa_api.projecting.event_message import read_message
from wa_api.projecting.intake import AHEAD, BATCH, EventIntake
from wa_api.projecting.metrics import ProjectorMetrics
from wa_api.projecting.order import Arrival
from wa_api.projecting.writer import Written
from wa_contracts.codec import encode
from wa_contracts.examples import EXAMPLES
from wa_contracts.internal.bundle import BUNDLE, frame_bundle

OF_A_BUNDLE = 200


class SlowWriter:
    """Writes nothing until it may."""

    def __init__(self) -> None:
        self.may = asyncio.Event()
        self.written: list[int] = []
        self.batches: list[int] = []

    async def write(self, arrivals: Sequence[Arrival], meanwhile: Callable[[], None]) -> Written:
        """Remember the sequences."""
        self.batches.append(len(arrivals))
        meanwhile()
        await self.may.wait()
        self.written.extend(one.sequence for one in arrivals)
        return Written(len(arrivals), 0, 0)


def _bundle(first: int, *, odd: bool = False) -> Mock:
    whole = json.loads(encode(EXAMPLES[1]))
    raws = [whole | {"sessionSequence": first + at} for at in range(OF_A_BUNDLE)]
    if odd:
        raws[7]["type"] = "session.from_the_future"
    body = frame_bundle(
        (raw["sessionSequence"] - 1, json.dumps(raw).encode(), None) for raw in raws
    )
    return Mock(type=BUNDLE, body=body, traceparent=None)


def new_intake(writer: Any, prefetch: int = 1000) -> EventIntake:
    """One that nothing is delivered to yet."""
    metrics = ProjectorMetrics(CollectorRegistry())
    return EventIntake(writer=writer, metrics=metrics, prefetch=prefetch)


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The messages that were read so far."""
    read: list[Any] = []

    def noted(message: Any) -> Any:
        read.append(message)
        return read_message(message)

    monkeypatch.setattr("wa_api.projecting.intake.read_message", noted)
    return read


async def test_the_next_batch_is_read_while_one_is_written(reads: list[Any]) -> None:
    writer: Any = SlowWriter()
    intake = new_intake(writer)
    for at in range(20):
        intake.accept(_bundle(1 + at * OF_A_BUNDLE))
    assert len(reads) == AHEAD // OF_A_BUNDLE
    running = asyncio.create_task(intake.run())
    try:
        both = (BATCH + AHEAD) // OF_A_BUNDLE
        await eventually(lambda: len(reads) == both, what="both are read")
        assert writer.written == []
    finally:
        running.cancel()


async def test_one_batch_is_read_ahead_and_all_comes_in_order(reads: list[Any]) -> None:
    writer: Any = SlowWriter()
    intake = new_intake(writer)
    messages = [_bundle(1 + at * OF_A_BUNDLE, odd=at == 9) for at in range(40)]
    running = asyncio.create_task(intake.run())
    try:
        for message in messages:
            intake.accept(message)
            await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert len(reads) <= (BATCH + AHEAD) // OF_A_BUNDLE + 1
        writer.may.set()

        def acked() -> bool:
            return bool(messages[-1].ack.call_count)

        assert await eventually(acked, what="the last one is acknowledged")
    finally:
        running.cancel()
    assert writer.written == list(range(1, 40 * OF_A_BUNDLE + 1))
    assert max(writer.batches) < BATCH + OF_A_BUNDLE
    assert [at for at, one in enumerate(messages) if one.reject.call_count] == [9]
    assert messages[-1].ack.call_args.kwargs == {"multiple": True}


async def test_a_queue_that_delivers_its_prefetch_is_not_kept_waiting(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With one event a message and the pause after each batch, a prefetch of 20 capped the rate."""
    monkeypatch.setattr("wa_api.projecting.intake.GATHER_SECONDS", 3600)
    writer: Any = SlowWriter()
    writer.may.set()
    intake = new_intake(writer, prefetch=3)
    running = asyncio.create_task(intake.run())
    try:
        intake.accept(_bundle(1))
        await eventually(lambda: len(writer.batches) == 1, what="the first one")
        last = [_bundle(1 + at * OF_A_BUNDLE) for at in (1, 2, 3)]
        for message in last[:2]:
            intake.accept(message)
        intake.accept(last[2])
        await eventually(lambda: last[2].ack.call_count == 1, what="all three")
        assert writer.batches == [OF_A_BUNDLE, 3 * OF_A_BUNDLE]
    finally:
        running.cancel()
