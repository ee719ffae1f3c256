"""A running queue on a writer, an engine and a clock that a test controls."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast
from uuid import UUID

from prometheus_client import CollectorRegistry

from wa_contracts.ids import MessageId, SessionId
from wa_contracts.internal.commands import MessageType
from wa_contracts.internal.questions import Answer, NumberOf
from wa_contracts.session_events import Event
from wa_session_host.domain.message import Content, Facts, Queued
from wa_session_host.domain.observations import ReachoutLocked, SendObservation
from wa_session_host.domain.pacing import Pace, PaceRule, SendHistory
from wa_session_host.engine.port import Acknowledged, MediaFile, OutgoingMessage
from wa_session_host.engine.port import Engine as EnginePort
from wa_session_host.media.media_error import MediaError
from wa_session_host.metrics import HostMetrics
from wa_session_host.sessions.context import SessionContext
from wa_session_host.sessions.open_message import OpenMessage
from wa_session_host.sessions.runner import Runner
from wa_session_host.sessions.tracked_message import BoundedCache
from wa_session_host.store.stored_event import Append

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def message(number: int, to: str, kind: MessageType = MessageType.TEXT) -> OpenMessage:
    """The message of that place in the order of storing."""
    facts = Facts(MessageId(UUID(int=number)), to, kind, None, NOON + timedelta(hours=1))
    return OpenMessage(Queued(facts), f"message-{number}", 1, number, UUID(int=0), UUID(int=0))


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
    numbers: dict[str, str] = field(default_factory=dict)

    async def send(self, outgoing: OutgoingMessage) -> Acknowledged:
        """Refuse, or acknowledge."""
        self.tries.append(outgoing.to)
        if outgoing.to in self.answers:
            raise self.answers[outgoing.to]
        return Acknowledged("3EB0", NOON)

    async def ask(self, question: NumberOf) -> Answer:
        """Whose LID it is."""
        return Answer(number=self.numbers.get(question.jid))


class Media:
    """Its server is busy as long as `fault` says."""

    fault: MediaError | None = None
    document: Path | None = None

    @asynccontextmanager
    async def ready(self, kind: MessageType, _: Content) -> AsyncIterator[MediaFile | None]:
        """Texts need none."""
        if kind is MessageType.IMAGE and self.fault is not None:
            raise self.fault
        if kind is MessageType.DOCUMENT and self.document is not None:
            yield MediaFile(self.document, "application/pdf", "a.pdf")
        else:
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
    port: EnginePort
    known: set[str]
    reachout: list[SendObservation]

    def sent(self) -> list[int]:
        """The messages that were sent, in order."""
        return [number for number, end in self.writer.ends() if end == "sent"]

    def codes(self) -> dict[int, str]:
        """The code of each message that failed."""
        return {number: end.code for number, end in self.writer.ends() if end != "sent"}  # type: ignore[attr-defined]

    def add(self, number: int, to: str, kind: MessageType = MessageType.TEXT) -> None:
        """Queue a message."""
        self.runner.enqueue(message(number, to, kind), Content(text=str(number)))

    def pass_time(self) -> None:
        """Every pause is over."""
        self.now[0] += timedelta(minutes=6)
        locked = self.reachout[-1:] == [ReachoutLocked()]
        self.runner.resume(self.port, restricted=locked)


@asynccontextmanager
async def bench(port: EnginePort | None = None) -> AsyncIterator[Bench]:
    """A running runner of a working session, with that engine or a scripted one."""
    writer, engine, media, now = Writer(), Engine(), Media(), [NOON]
    deaf: list[None] = []
    metrics = HostMetrics(CollectorRegistry())

    known: set[str] = set()
    reachout: list[SendObservation] = []

    class _Store:
        async def known_chats(self, _: SessionId) -> set[str]:
            return known

        async def content(self, stream: str) -> Content:
            return Content(text=stream.removeprefix("message-"))

    context = SessionContext(
        writer=cast("Any", writer),
        store=cast("Any", _Store()),
        engines=cast("Any", None),
        media=cast("Any", media),
        incoming_media=cast("Any", None),
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

    async def seen(observation: SendObservation) -> None:
        """The session's state follows."""
        reachout.append(observation)
        runner.resume(sends_by, restricted=isinstance(observation, ReachoutLocked))

    sends_by = port or cast("EnginePort", engine)
    runner = Runner(
        SessionId(UUID(int=1)),
        1,
        context,
        pace=Pace(PaceRule(), SendHistory(0, None), clock=lambda: now[0], jitter=max),
        on_outcome=heard,
        on_deaf=is_deaf,
        on_reachout=seen,
    )
    running = asyncio.create_task(runner.run())
    runner.resume(sends_by)
    try:
        yield Bench(runner, engine, writer, media, metrics, deaf, now, sends_by, known, reachout)
    finally:
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running
