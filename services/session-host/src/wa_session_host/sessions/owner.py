"""The owner of one session: sole writer of its stream, and keeper of its engine."""

import asyncio
import random
from uuid import UUID

import structlog

from wa_contracts.ids import SessionId, new_id, session_stream
from wa_contracts.internal.commands import UpdateSession
from wa_contracts.internal.refusals import REFUSALS
from wa_contracts.internal.replies import ErrorDetail, PairingCode
from wa_contracts.session_events import Event, SessionStatus
from wa_session_host.domain import session as domain
from wa_session_host.domain.observations import (
    CallSeen,
    ChangeSeen,
    ConnectionLost,
    LoggedIn,
    MessageSeen,
    Observation,
    ReceiptSeen,
    Seen,
    SendObservation,
)
from wa_session_host.domain.observing import observe
from wa_session_host.domain.pacing import Pace, SendHistory
from wa_session_host.engine.port import Engine, EngineOptions, PairingUnavailable
from wa_session_host.engine.sanitising import sanitised
from wa_session_host.sessions.context import SessionContext
from wa_session_host.sessions.engine_calls import EngineCalls
from wa_session_host.sessions.engine_timing import EnginePause, EnginePhase, LoginWatch
from wa_session_host.sessions.incoming import Incoming
from wa_session_host.sessions.receipts import Receipts
from wa_session_host.sessions.runner import Runner
from wa_session_host.sessions.unlinking import unlink
from wa_session_host.store.stored_event import Append, LeaseLost, VersionConflict

log = structlog.get_logger()

SETTLE_SECONDS = 3.0
"""An operator's command waits so long for the ack of a send in flight."""

LOGGING_IN = {SessionStatus.STARTING, SessionStatus.CONNECTING}
FAILS_BACKLOG = {SessionStatus.LOGGED_OUT, SessionStatus.BANNED}


class SessionOwner:
    """A session of a partition that this host holds."""

    def __init__(
        self,
        session_id: SessionId,
        partition: int,
        context: SessionContext,
        *,
        state: domain.State,
        version: int,
        history: SendHistory,
    ) -> None:
        """`state` and `version` are those of the session's stream."""
        self.id = session_id
        self.state = state
        self._partition = partition
        self._version = version
        self._writer = context.writer
        self._engines = context.engines
        self._clock = context.clock
        self._metrics = context.metrics
        self._pace_rule = context.pace
        self._engine: Engine | None = None
        self.engine_phase = EnginePhase.IDLE
        self._start: asyncio.Task[Engine] | None = None
        self._may_start = asyncio.Event()
        """Cleared while a link is being removed: no engine may log in with it meanwhile."""
        self._may_start.set()
        self._deciding = asyncio.Lock()
        self._wanted = asyncio.Event()
        self._deleted = asyncio.Event()
        self._pause = EnginePause(context.engines, context.clock)
        self._login_watch = LoginWatch(context.login_seconds)
        self._leaving = False
        self.calls = EngineCalls(lambda: (self._logged_in_engine, self.status))
        self._receipts = Receipts(session_id, partition, context)
        self._incoming = Incoming(session_id, partition, context, self.calls)
        self.runner = Runner(
            session_id,
            partition,
            context,
            pace=Pace(
                context.pace.for_session(domain.options_of(state).pacing),
                history,
                clock=context.clock,
                jitter=random.uniform,
            ),
            on_outcome=self._receipts.record_outcome,
            on_deaf=self._end_deaf_engine,
            on_reachout=self._observe,
        )

    @property
    def status(self) -> SessionStatus | None:
        return domain.status_of(self.state)

    @property
    def _logged_in_engine(self) -> Engine | None:
        return self._engine if domain.is_logged_in(self.state) else None

    async def run(self) -> None:
        """Run the engine that the state asks for, and send, until the session is deleted."""
        self._apply_state()
        async with asyncio.TaskGroup() as group:
            tasks = (
                group.create_task(self.runner.run()),
                group.create_task(self._run_engines()),
            )
            await self._deleted.wait()
            await self.runner.wait_empty()
            for task in tasks:
                task.cancel()

    async def announce_takeover(self) -> None:
        """Record as a new owner that the session is not connected."""
        async with self._deciding:
            await self._record(domain.take_over(self.state, self._engines.version))

    async def handle(self, command: domain.Command) -> bool:
        """Decide a command and apply its events; False without an event."""
        async with self._deciding:
            try:
                if domain.unlinks(command, self.state):
                    self._may_start.clear()
                    self.runner.pause()  # no send may start on a link that is being removed
                    await self.runner.wait_engine_idle(SETTLE_SECONDS)
                    await self._unlink(was_starting=await self._cancel_start())
                changed = await self._record(
                    domain.decide(command, self.state),
                    correlation_id=command.correlation_id,
                    causation_id=command.id,
                    reply_to=command.reply_to,
                )
            finally:
                self._may_start.set()
        if changed and not isinstance(command, UpdateSession):  # the next engine has new options
            self._pause.start_over()
            self._pause.end()
            await self.runner.wait_engine_idle(SETTLE_SECONDS)
            await self._cancel_start()
            await self._end_engine()
        return changed

    def try_new_version(self) -> None:
        """Start the next engine at once if the session waits for another version: there is one."""
        if domain.refused_version(self.state) not in {None, self._engines.version}:
            self._pause.end()

    async def pairing_code(self, phone_number: str) -> PairingCode:
        if self._engine is None:
            raise PairingUnavailable("The session is not being linked now: restart it first.")
        return await self._engine.pairing_code(phone_number)

    async def leave(self) -> None:
        """Stop the engine for good: the session moves to another owner."""
        self._leaving = True
        await self._cancel_start()
        await self._end_engine()

    async def _end_engine(self) -> None:
        if self._engine is not None:
            self.engine_phase = EnginePhase.STOPPING
            await self._engine.stop()

    async def _cancel_start(self) -> bool:
        """Cancel the start under way; False if there is none."""
        if self._start is None:
            return False
        self._start.cancel()
        await asyncio.wait({self._start})
        return True

    async def _unlink(self, *, was_starting: bool) -> None:
        """Remove the link at WhatsApp. A session without an engine logs in once more for that."""
        if (engine := self._logged_in_engine) is not None:
            await engine.log_out()
        elif (
            isinstance(self.state, domain.Opened)
            and self.state.link is not None
            and (
                was_starting
                or self.status is SessionStatus.CONNECTING
                or not domain.should_run(self.state)
            )
        ):
            await self._end_engine()  # it has not logged in
            await unlink(self._engines, self.id, self.state.link, _engine_options(self.state))

    async def _record(
        self,
        events: tuple[Event, ...],
        *,
        correlation_id: UUID | None = None,
        causation_id: UUID | None = None,
        reply_to: str | None = None,
    ) -> bool:
        if not events:
            return False
        origin = new_id()
        stored = await self._writer.append(
            Append(
                partition=self._partition,
                session_id=self.id,
                stream=session_stream(self.id),
                expected_version=self._version,
                events=events,
                correlation_id=correlation_id or origin,
                causation_id=causation_id or origin,
                reply_to=reply_to,
            )
        )
        self._version = stored[-1].stream_version
        for event in events:
            self.state = domain.evolve(self.state, event)
        self._apply_state()
        names = [event.TYPE for event in events]
        log.info("session_changed", session_id=str(self.id), status=self.status, events=names)
        return True

    async def _observe(self, observation: Observation | SendObservation) -> None:
        if isinstance(observation, LoggedIn) and self.engine_phase is not EnginePhase.RUNNING:
            return  # it is being ended: the next engine's login counts
        async with self._deciding:
            if not await self._record(observe(observation, self.state, self._clock())):
                self._apply_state()  # this engine may be another than the one that the state is of

    def _apply_state(self) -> None:
        """Make engine and runner follow the state."""
        own_pacing = domain.options_of(self.state).pacing
        self.runner.pace.set_rule(self._pace_rule.for_session(own_pacing))
        if domain.should_run(self.state):
            self._wanted.set()
        else:
            self._wanted.clear()
        if isinstance(self.state, domain.Deleted):
            self._deleted.set()
        status = self.status
        is_linked = domain.link_of(self.state) is not None
        self._login_watch.set_under_way(under_way=status in LOGGING_IN and is_linked)
        if (engine := self._logged_in_engine) is not None:
            self._pause.start_over()
            self.runner.resume(engine, restricted=status is SessionStatus.RESTRICTED)
        elif (error := backlog_error(status)) is not None:
            self.runner.refuse(error)
        else:
            self.runner.pause()

    async def _run_engines(self) -> None:
        """Run one engine after the other while the state asks for one."""
        await self._pause.wait_first(self.state)
        had_one = False
        while not self._leaving:
            await self._wanted.wait()
            await self._may_start.wait()
            if not self._wanted.is_set():
                continue
            self._pause.renew()
            self._engine = await self._started()
            if self._engine is None:
                continue
            self._metrics.worker_restarts.inc(int(had_one))
            had_one = True
            try:
                async with asyncio.TaskGroup() as group:
                    watch = group.create_task(self._watch_login())
                    async for seen in self._engine.observations():
                        await self._dispatch(sanitised(seen))
                    watch.cancel()
            finally:
                engine, self._engine = self._engine, None
                self.engine_phase = EnginePhase.STOPPING
                self._apply_state()
                await engine.stop()
                self.engine_phase = EnginePhase.IDLE
            if domain.should_run(self.state) and not self._leaving:
                await self._pause.wait(self.state)

    async def _started(self) -> Engine | None:
        """Start an engine; None if a command cancelled the start or the state asks for none now."""
        self.engine_phase = EnginePhase.STARTING
        link = domain.link_of(self.state)
        start = self._engines.start(self.id, link, _engine_options(self.state))
        self._start = asyncio.create_task(start)
        engine: Engine | None = None
        try:
            await asyncio.wait({self._start})
            if not self._start.cancelled():
                engine = self._start.result()
        finally:
            self._start.cancel()
            self._start = None
            self.engine_phase = EnginePhase.IDLE if engine is None else EnginePhase.RUNNING
        is_wanted = domain.should_run(self.state) and self._may_start.is_set()
        if engine is None or (is_wanted and not self._leaving):
            return engine
        await engine.stop()  # the command came between the start's end and this task's turn
        self.engine_phase = EnginePhase.IDLE
        return None

    async def _watch_login(self) -> None:
        """Stop the engine of a linked session whose login neither succeeds nor fails."""
        await self._login_watch.wait_overdue()
        await self._observe(ConnectionLost("login_timeout", "WhatsApp did not answer the login."))
        await self._end_engine()

    async def _dispatch(self, seen: Seen) -> None:
        """Record an observation. One that cannot be recorded is logged and skipped."""
        try:
            match seen:
                case ReceiptSeen():
                    await self._receipts.record_receipt(seen, sending=self.runner.sending)
                case MessageSeen() | ChangeSeen() | CallSeen():
                    self.runner.first_messages.is_met(seen)
                    await self._incoming.record(seen, domain.options_of(self.state))
                case _:
                    await self._observe(seen)
        except (LeaseLost, VersionConflict):
            raise  # this host's state is outdated: the next owner reloads it
        except Exception:
            self._metrics.observations_failed.inc()
            kind = type(seen).__name__
            log.exception("observation_not_recorded", session_id=str(self.id), kind=kind)

    async def _end_deaf_engine(self) -> None:
        """Replace the engine after several sends in a row without an ack."""
        deaf = ConnectionLost("deaf", "WhatsApp acknowledged none of the last messages.")
        await self._observe(deaf)
        await self._end_engine()


def backlog_error(status: SessionStatus | None) -> ErrorDetail | None:
    """Why accepted messages fail at once in this state; None if they wait."""
    if status is None:
        return ErrorDetail(code="session_deleted", message="The session was deleted.")
    if status not in FAILS_BACKLOG:
        return None
    return ErrorDetail(code=f"session_{status}", message=REFUSALS[status])


def _engine_options(state: domain.State) -> EngineOptions:
    options = domain.options_of(state)
    return EngineOptions(domain.proxy_of(state), options.device_name, options.presence)
