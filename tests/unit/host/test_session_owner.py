"""A session's owner: its engine follows its state, and one bad observation harms nobody."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast
from uuid import UUID, uuid4

import asyncpg
import pytest
from prometheus_client import CollectorRegistry

from tests.deadlines import eventually
from tests.unit.host.host_bench import now
from tests.unit.host.interleaving.whatsapp import text_seen
from wa_contracts.ids import CommandId, SessionId
from wa_contracts.internal.commands import (
    LogOutSession,
    RestartSession,
    SessionCommand,
    StopSession,
)
from wa_contracts.message_events import MessageReceived
from wa_contracts.session_events import (
    Event,
    SessionConnecting,
    SessionDisconnected,
    SessionStatus,
)
from wa_session_host.domain import session as domain
from wa_session_host.domain.observations import (
    ClientOutdated,
    ClientVersion,
    LinkedDevice,
    LoggedIn,
    Seen,
)
from wa_session_host.domain.pacing import PaceRule, SendHistory
from wa_session_host.metrics import HostMetrics
from wa_session_host.partitions.outdated import follow_versions
from wa_session_host.sessions import engine_timing
from wa_session_host.sessions.context import SessionContext
from wa_session_host.sessions.engine_timing import EnginePhase
from wa_session_host.sessions.owner import SessionOwner
from wa_session_host.sessions.tracked_message import BoundedCache
from wa_session_host.store.stored_event import Append

LINK = LinkedDevice("15550001111:1@s.whatsapp.net", "15550001111")
REFUSED = ClientVersion("engine 1", "2.3000.1")


class Writer:
    """Stores every append, but for events that it is told to refuse."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.refuse: set[str] = set()

    def append(self, append: Append) -> "asyncio.Future[Sequence[Any]]":
        """Resolves at once."""
        future: asyncio.Future[Sequence[Any]] = asyncio.get_running_loop().create_future()
        texts = {getattr(event, "text", None) for event in append.events}
        if texts & self.refuse:
            future.set_exception(asyncpg.UntranslatableCharacterError("refused"))
        else:
            self.events += append.events
            version = append.expected_version + len(append.events)
            future.set_result([SimpleNamespace(stream_version=version)])
        return future


class Engine:
    """Logs in at once; the test adds observations."""

    def __init__(self, link: LinkedDevice | None) -> None:
        self.link = link
        self.is_stopped = False
        self.is_logged_out = False
        self.seen: asyncio.Queue[Seen | None] = asyncio.Queue()
        self.seen.put_nowait(LoggedIn())

    async def observations(self) -> AsyncIterator[Seen]:
        """Until it is stopped."""
        while (seen := await self.seen.get()) is not None:
            yield seen

    async def stop(self) -> None:
        """Ends the observations."""
        self.is_stopped = True
        self.seen.put_nowait(None)

    async def log_out(self) -> None:
        """Removes the link at WhatsApp."""
        self.is_logged_out = True


@dataclass
class Engines:
    """Starts engines when the test lets it."""

    version: ClientVersion
    may_start: asyncio.Event = field(default_factory=asyncio.Event)
    started: list[Engine] = field(default_factory=list)

    async def use(self, library: Path | None) -> None:
        """Loads the version that the library is called after."""
        self.version = ClientVersion("engine 1", str(library))

    async def start(
        self, _: SessionId, link: LinkedDevice | None, _options: object = None
    ) -> Engine:
        """Waits for its turn, as a host that takes many sessions over."""
        await self.may_start.wait()
        engine = Engine(link)
        self.started.append(engine)
        return engine


@dataclass
class Bench:
    """One session on its writer and engines."""

    owner: SessionOwner
    writer: Writer
    engines: Engines


@asynccontextmanager
async def owned(state: domain.State, version: ClientVersion = REFUSED) -> AsyncIterator[Bench]:
    """The owner of a session in this state, running on engines of this version."""
    writer, engines = Writer(), Engines(version)
    context = SessionContext(
        writer=cast("Any", writer),
        store=cast("Any", None),
        engines=cast("Any", engines),
        media=cast("Any", None),
        incoming_media=cast("Any", None),
        clock=now,
        metrics=HostMetrics(CollectorRegistry()),
        sent_messages=BoundedCache(10),
        contents=BoundedCache(1000),
        pace=PaceRule(),
        login_seconds=30,
        retention=timedelta(days=30),
    )
    history = SendHistory(0, None)
    owner = SessionOwner(
        SessionId(UUID(int=1)), 0, context, state=state, version=5, history=history
    )
    running = asyncio.create_task(owner.run())
    try:
        yield Bench(owner, writer, engines)
    finally:
        running.cancel()
        await asyncio.wait([running])


def command(kind: type[SessionCommand]) -> Any:
    """A command of the operator."""
    return kind(
        id=CommandId(uuid4()),
        session_id=SessionId(UUID(int=1)),
        correlation_id=uuid4(),
        issued_at=now(),
        expires_at=now() + timedelta(seconds=30),
    )


async def _phase(owner: SessionOwner, phase: EnginePhase) -> None:
    await eventually(lambda: owner.engine_phase is phase, what=f"engine {phase.name}")


async def _status(owner: SessionOwner, status: SessionStatus) -> None:
    await eventually(lambda: owner.status is status, what=f"session {status}")


async def _refused(bench: Bench) -> None:
    """WhatsApp refuses the version of the engine that works; the owner waits then."""
    await _status(bench.owner, SessionStatus.WORKING)
    for seen in (ClientOutdated(REFUSED), None):
        bench.engines.started[0].seen.put_nowait(seen)
    await _status(bench.owner, SessionStatus.DISCONNECTED)
    await _phase(bench.owner, EnginePhase.IDLE)


async def test_a_stop_during_a_start_leaves_no_engine() -> None:
    async with owned(domain.Opened(domain.Connecting(), LINK)) as bench:
        await _phase(bench.owner, EnginePhase.STARTING)
        assert await bench.owner.handle(command(StopSession))
        bench.engines.may_start.set()
        await _phase(bench.owner, EnginePhase.IDLE)
        assert bench.owner.status is SessionStatus.STOPPED
        assert all(engine.is_stopped for engine in bench.engines.started)
        assert await bench.owner.handle(command(RestartSession))
        await _phase(bench.owner, EnginePhase.RUNNING)
        assert not bench.engines.started[-1].is_stopped


async def test_a_log_out_during_a_start_removes_the_link_at_whatsapp() -> None:
    async with owned(domain.Opened(domain.Connecting(), LINK)) as bench:
        await _phase(bench.owner, EnginePhase.STARTING)
        logging_out = asyncio.create_task(bench.owner.handle(command(LogOutSession)))
        bench.engines.may_start.set()
        assert await asyncio.wait_for(logging_out, 10)
        assert bench.owner.status is SessionStatus.LOGGED_OUT
        engine = bench.engines.started[-1]
        assert (engine.link, engine.is_logged_out) == (LINK, True)
        assert all(one.is_stopped for one in bench.engines.started)


async def test_leaving_during_a_start_leaves_no_engine() -> None:
    async with owned(domain.Opened(domain.Connecting(), LINK)) as bench:
        await _phase(bench.owner, EnginePhase.STARTING)
        await bench.owner.leave()
        bench.engines.may_start.set()
        await _phase(bench.owner, EnginePhase.IDLE)
        assert bench.engines.started == []


@pytest.mark.parametrize("text", ["a\x00b", "\x00", "a\x00\x00b"])
async def test_u0000_from_whatsapp_is_replaced(text: str) -> None:
    async with owned(domain.Opened(domain.Connecting(), LINK)) as bench:
        bench.engines.may_start.set()
        await _phase(bench.owner, EnginePhase.RUNNING)
        bench.engines.started[0].seen.put_nowait(text_seen(text))

        def texts() -> list[str | None]:
            return [one.text for one in bench.writer.events if isinstance(one, MessageReceived)]

        wanted = [text.replace("\x00", "\ufffd")]
        await eventually(lambda: texts() == wanted, what="the message")


async def test_an_observation_that_cannot_be_stored_is_skipped_alone() -> None:
    async with owned(domain.Opened(domain.Connecting(), LINK)) as bench:
        bench.writer.refuse = {"poison"}
        bench.engines.may_start.set()
        await _phase(bench.owner, EnginePhase.RUNNING)
        for text in ("before", "poison", "after"):
            bench.engines.started[0].seen.put_nowait(text_seen(text))

        def texts() -> list[str | None]:
            return [one.text for one in bench.writer.events if isinstance(one, MessageReceived)]

        await eventually(lambda: texts() == ["before", "after"], what="the others")
        assert bench.owner.engine_phase is EnginePhase.RUNNING
        assert not bench.engines.started[0].is_stopped


WAITING = domain.Opened(domain.Disconnected("client_outdated", REFUSED), LINK)


@pytest.mark.usefixtures("long_pause")
async def test_a_refused_version_keeps_link_and_queue_and_the_next_try_waits() -> None:
    async with owned(domain.Opened(domain.Connecting(), LINK)) as bench:
        bench.engines.may_start.set()
        await _refused(bench)
        assert domain.link_of(bench.owner.state) == LINK
        [event] = [one for one in bench.writer.events if isinstance(one, SessionDisconnected)]
        assert (event.reason, event.client_version) == ("client_outdated", "2.3000.1")
        assert len(bench.engines.started) == 1
        bench.owner.try_new_version()
        await asyncio.sleep(0)
        assert len(bench.engines.started) == 1, "the version is the same"
        bench.engines.version = ClientVersion("engine 1", "2.3000.2")
        bench.owner.try_new_version()
        await eventually(lambda: len(bench.engines.started) == 2, what="the next try")
        await _status(bench.owner, SessionStatus.WORKING)


async def test_the_same_version_waits_after_a_take_over_and_another_starts_at_once() -> None:
    async with owned(WAITING) as bench:
        bench.engines.may_start.set()
        await bench.owner.announce_takeover()
        assert bench.writer.events == []
        assert bench.engines.started == []
        await bench.owner.handle(command(RestartSession))
        await eventually(lambda: len(bench.engines.started) == 1, what="the operator's try")
    async with owned(WAITING, ClientVersion("engine 1", "2.3000.2")) as bench:
        bench.engines.may_start.set()
        await bench.owner.announce_takeover()
        assert isinstance(bench.writer.events[0], SessionConnecting)
        await _status(bench.owner, SessionStatus.WORKING)


def test_tries_with_a_refused_version_are_minutes_apart_and_get_rarer() -> None:
    pauses = [engine_timing.pause_seconds(WAITING, ended, now()) for ended in range(12)]
    assert 30 <= pauses[0] <= 60
    assert 900 <= pauses[-1] <= 1800
    lost = domain.Opened(domain.Disconnected("connection_lost"), LINK)
    assert engine_timing.pause_seconds(lost, 5000, now()) <= 60


@pytest.fixture
def long_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    """A refused version is not tried again during a test."""
    monkeypatch.setattr(engine_timing, "OUTDATED_PAUSE_SECONDS", 1800.0)


@pytest.mark.usefixtures("long_pause")
async def test_a_version_that_is_looked_up_anew_is_tried_at_once_by_those_that_wait() -> None:
    async with owned(domain.Opened(domain.Connecting(), LINK)) as bench:
        bench.engines.may_start.set()
        await _refused(bench)

        async def follow(
            use: Callable[[Path | None], Awaitable[None]], is_refused: Callable[[], bool]
        ) -> None:
            assert is_refused()
            await use(Path("2.3000.2"))
            assert not is_refused()

        versions: Any = SimpleNamespace(follow=follow)
        partitions: Any = [SimpleNamespace(sessions={bench.owner.id: bench.owner})]
        await follow_versions(versions, cast("Any", bench.engines), lambda: partitions)
        await _status(bench.owner, SessionStatus.WORKING)
