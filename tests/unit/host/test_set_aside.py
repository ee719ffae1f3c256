"""A message that cannot go now waits with its chat, and lets all other chats pass."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, cast
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from tests.deadlines import eventually
from wa_contracts.ids import MessageId, SessionId
from wa_contracts.internal.commands import MessageType
from wa_contracts.internal.replies import ErrorDetail
from wa_contracts.session_events import Event
from wa_session_host.domain.message import Content, Facts, Queued
from wa_session_host.domain.pacing import Pace, PaceRule, SendHistory
from wa_session_host.domain.set_aside import LONGEST_PAUSE, SetAside, set_aside
from wa_session_host.engine.port import Acknowledged, NotNow, OutgoingMessage, SendRefused
from wa_session_host.media.fetching import MediaError
from wa_session_host.metrics import HostMetrics
from wa_session_host.sessions.context import SessionContext
from wa_session_host.sessions.message_queue import MessageQueue
from wa_session_host.sessions.open_message import OpenMessage
from wa_session_host.sessions.runner import Runner
from wa_session_host.sessions.tracked_message import BoundedCache
from wa_session_host.store.stored_event import Append

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
BUSY = ErrorDetail(code="rate_limited_by_whatsapp", message="Slow down.")


def message(number: int, to: str, kind: MessageType = MessageType.TEXT) -> OpenMessage:
    """The message of that place in the order of storing."""
    facts = Facts(MessageId(UUID(int=number)), to, kind, None, NOON + timedelta(hours=1))
    return OpenMessage(Queued(facts), f"message-{number}", 1, number, UUID(int=0), UUID(int=0))


def test_pauses_grow_to_minutes() -> None:
    pauses, aside = [], None
    for _ in range(40):
        aside = set_aside(aside, BUSY, NOON)
        pauses.append(aside.until - NOON)
    assert pauses == sorted(pauses)
    assert pauses[0] < timedelta(seconds=10)
    assert pauses[-1] == LONGEST_PAUSE


@given(
    chats=st.lists(st.sampled_from("ABC"), max_size=20),
    steps=st.lists(st.sampled_from(["send", "aside", "later", "remove", "again"]), max_size=60),
)
def test_a_chat_keeps_its_order_whatever_is_set_aside(chats: list[str], steps: list[str]) -> None:
    queue, now, tries = MessageQueue(), NOON, 0
    for number, chat in enumerate(chats):
        queue.append(message(number, chat))
    left = dict.fromkeys(range(len(chats)))
    for step in steps:
        queue.release(now)
        if step == "later":
            now += timedelta(seconds=5)
        elif step == "remove" and left:
            queue.remove(_in(queue, next(reversed(left))))
            left.popitem()
        elif (first := queue.first) is not None:
            assert all(chats[older] != first.facts.to for older in left if older < _number(first))
            assert queue.pop_first() is first
            if step == "send":
                del left[_number(first)]
            elif step == "again":
                queue.append(first)
            else:
                tries += 1
                queue.put_aside(first, SetAside(BUSY, now + timedelta(seconds=tries), tries))
        held = {one.facts.to for one in queue.set_aside}
        assert (queue.first is not None) == any(chats[number] not in held for number in left)
        assert queue.oldest_position == min(left, default=None)
        assert len(queue) == len(left)
    queue.release()
    assert [_number(queue.pop_first()) for _ in list(left)] == list(left)
    assert (len(queue), queue.content_bytes, queue.first) == (0, 0, None)


def _in(queue: MessageQueue, number: int) -> OpenMessage:
    found = queue.get(MessageId(UUID(int=number)))
    assert found is not None
    return found


def _number(one: OpenMessage) -> int:
    return one.queued_position


@dataclass
class Writer:
    """Stores what is appended."""

    events: list[tuple[str, Event]] = field(default_factory=list)

    async def append(self, append: Append) -> Sequence[Any]:
        """One event at a time."""
        [event] = append.events
        self.events.append((append.stream, event))
        stored = type("Stored", (), {})()
        stored.stream_version, stored.id = append.expected_version + 1, UUID(int=1)
        return [stored]

    def ends(self) -> list[tuple[int, str]]:
        """The messages that ended, in that order, with their codes or `sent`."""
        return [
            (int(stream.removeprefix("message-")), getattr(event, "error", None) or "sent")
            for stream, event in self.events
            if event.TYPE in {"message.sent", "message.failed", "message.unknown"}
        ]


@dataclass
class Engine:
    """Answers by recipient, until it is cured."""

    answers: dict[str, Exception] = field(default_factory=dict)
    tries: list[str] = field(default_factory=list)

    async def send(self, outgoing: OutgoingMessage) -> Acknowledged:
        """Refuse, or acknowledge."""
        self.tries.append(outgoing.to)
        if outgoing.to in self.answers:
            raise self.answers[outgoing.to]
        return Acknowledged("3EB0", NOON)


class Media:
    """Its server is busy as long as `fault` says."""

    fault: MediaError | None = None

    @asynccontextmanager
    async def ready(self, kind: MessageType, _: Content) -> AsyncIterator[None]:
        """Texts need none."""
        if kind is MessageType.IMAGE and self.fault is not None:
            raise self.fault
        yield None


@dataclass
class Bench:
    """A runner, and what it runs on."""

    runner: Runner
    engine: Engine
    writer: Writer
    media: Media
    metrics: HostMetrics
    deaf: list[None]
    now: list[datetime]

    def sent(self) -> list[int]:
        """The messages that were sent, in order."""
        return [number for number, end in self.writer.ends() if end == "sent"]

    def codes(self) -> dict[int, str]:
        """The code of each message that failed."""
        return {number: end.code for number, end in self.writer.ends() if end != "sent"}  # type: ignore[attr-defined]

    def add(self, number: int, to: str, kind: MessageType = MessageType.TEXT) -> None:
        """Queue a message."""
        self.runner.enqueue(message(number, to, kind), Content(text="hello"))

    def pass_time(self) -> None:
        """Every pause is over."""
        self.now[0] += timedelta(minutes=6)
        self.runner.resume(cast("Any", self.engine))


@asynccontextmanager
async def bench() -> AsyncIterator[Bench]:
    """A running runner of a working session."""
    writer, engine, media, now = Writer(), Engine(), Media(), [NOON]
    deaf: list[None] = []
    metrics = HostMetrics(CollectorRegistry())

    class _Store:
        async def content(self, _: str) -> Content:
            return Content(text="hello")

    context = SessionContext(
        writer=cast("Any", writer),
        store=cast("Any", _Store()),
        engines=cast("Any", None),
        media=cast("Any", media),
        clock=lambda: now[0],
        metrics=metrics,
        sent_messages=BoundedCache(10),
        contents=BoundedCache(1000),
        pace=PaceRule(),
        login_seconds=30,
        retention=timedelta(days=30),
    )

    async def heard(*_: object) -> None:
        """Outcomes are read from the writer."""

    async def is_deaf() -> None:
        deaf.append(None)

    runner = Runner(
        SessionId(UUID(int=1)),
        1,
        context,
        pace=Pace(PaceRule(), SendHistory(0, None), clock=lambda: now[0], jitter=max),
        on_outcome=heard,
        on_deaf=is_deaf,
    )
    running = asyncio.create_task(runner.run())
    runner.resume(cast("Any", engine))
    try:
        yield Bench(runner, engine, writer, media, metrics, deaf, now)
    finally:
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running


async def test_a_message_that_cannot_go_now_lets_other_chats_pass() -> None:
    async with bench() as made:
        made.engine.answers["1"] = NotNow("rate_limited_by_whatsapp", "Slow down.")
        for number, to in enumerate(["1", "2", "1", "3"]):
            made.add(number, to)
        await eventually(lambda: made.sent() == [1, 3], what="the other chats are served")
        assert made.engine.tries == ["1", "2", "3"]
        [aside] = made.runner.set_aside
        assert aside.aside is not None
        assert aside.aside.error.code == "rate_limited_by_whatsapp"
        made.engine.answers.clear()
        made.pass_time()
        await eventually(lambda: made.sent() == [1, 3, 0, 2], what="the chat goes on in order")
        assert made.runner.set_aside == []


async def test_a_refusal_ends_its_message_and_no_other() -> None:
    async with bench() as made:
        made.engine.answers["1"] = SendRefused("invalid_recipient", "Malformed.")
        for number, to in enumerate(["1", "2", "1", "3"]):
            made.add(number, to)
        await eventually(lambda: len(made.runner) == 0, what="all have ended")
        assert made.sent() == [1, 3]
        assert made.codes() == {0: "invalid_recipient", 2: "invalid_recipient"}


async def test_busy_media_is_set_aside_and_absent_media_ends() -> None:
    async with bench() as made:
        made.media.fault = MediaError("media_unavailable", "It answered 503.", may_pass=True)
        made.add(0, "1", MessageType.IMAGE)
        made.add(1, "2")
        await eventually(lambda: made.sent() == [1], what="the text passes")
        made.media.fault = MediaError("media_unavailable", "It answered 404.")
        made.pass_time()
        await eventually(lambda: len(made.runner) == 0, what="the picture ends")
        assert made.codes() == {0: "media_unavailable"}


async def test_many_that_wait_are_no_deaf_connection() -> None:
    async with bench() as made:
        for number in range(5):
            made.engine.answers[str(number)] = NotNow("whatsapp_unavailable", "No answer.")
            made.add(number, str(number))
        await eventually(lambda: len(made.runner.set_aside) == 5, what="all wait")
        assert made.deaf == []


async def test_what_is_set_aside_expires_with_its_reason_and_frees_its_chat() -> None:
    async with bench() as made:
        made.engine.answers["1"] = NotNow("rate_limited_by_whatsapp", "Slow down.")
        made.add(0, "1")
        await eventually(lambda: len(made.runner.set_aside) == 1, what="it waits")
        await made.runner.expire(NOON + timedelta(hours=1))
        assert made.codes() == {0: "expired"}
        assert "Slow down." in str(made.writer.events[-1][1])
        made.engine.answers.clear()
        made.add(1, "1")
        await eventually(lambda: made.sent() == [1], what="the chat is free")


async def test_a_session_that_ends_fails_what_is_set_aside_at_once() -> None:
    async with bench() as made:
        made.engine.answers["1"] = NotNow("rate_limited_by_whatsapp", "Slow down.")
        made.add(0, "1")
        made.add(1, "1")
        await eventually(lambda: len(made.runner.set_aside) == 1, what="it waits")
        made.runner.refuse(ErrorDetail(code="session_banned", message="Banned."))
        await eventually(lambda: len(made.runner) == 0, what="all have failed")
        assert made.codes() == {0: "session_banned", 1: "session_banned"}


async def test_an_unrecognised_text_is_counted() -> None:
    async with bench() as made:
        made.engine.answers["1"] = NotNow("internal", "Something new.", unrecognised=True)
        made.add(0, "1")
        await eventually(lambda: len(made.runner.set_aside) == 1, what="it waits")
        [metric] = made.metrics.engine_errors_unrecognised.collect()
        assert metric.samples[0].value == 1
