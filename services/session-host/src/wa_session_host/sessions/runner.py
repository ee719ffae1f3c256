"""Runner of one session: sends its queued messages one by one, in order."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, contextmanager, suppress
from datetime import datetime
from uuid import UUID

import structlog

from wa_contracts.ids import MessageId, SessionId
from wa_contracts.internal.replies import ErrorDetail
from wa_contracts.message_events import MessageSent
from wa_contracts.recipient import mask_number
from wa_contracts.session_events import REACHOUT_TIMELOCK, Event
from wa_runtime.fault_points import FaultPoint, reach
from wa_runtime.traces import resumed_trace
from wa_session_host.domain import message as domain
from wa_session_host.domain.changes import changes_by
from wa_session_host.domain.message import Content, Queued, Sending
from wa_session_host.domain.observations import SendObservation
from wa_session_host.domain.pacing import Pace
from wa_session_host.domain.set_aside import SetAside, set_aside
from wa_session_host.engine.port import Engine, OutgoingMessage
from wa_session_host.media.media_error import MediaError
from wa_session_host.sessions.context import SessionContext
from wa_session_host.sessions.engine_send import Hearing, delivering, number_of, send_outcome
from wa_session_host.sessions.first_messages import FirstMessages
from wa_session_host.sessions.message_queue import MessageQueue
from wa_session_host.sessions.open_message import MessageAppender, OpenMessage
from wa_session_host.sessions.preparation import Preparation
from wa_session_host.sessions.reservations import Reservations

log = structlog.get_logger()

LONGEST_PAUSE_SECONDS = 10.0


class Runner:
    """One session's queue: sends while the session works, fails all messages while it refuses."""

    def __init__(
        self,
        session_id: SessionId,
        partition: int,
        context: SessionContext,
        *,
        pace: Pace,
        on_outcome: Callable[[OpenMessage, Event], Awaitable[None]],
        on_deaf: Callable[[], Awaitable[None]],
        on_reachout: Callable[[SendObservation], Awaitable[None]],
    ) -> None:
        """`on_outcome` follows each send, `on_deaf` several without an ack. See `FirstMessages`."""
        self.pace = pace
        self._session_id = session_id
        self._appender = MessageAppender(session_id, partition, context.writer)
        self._preparation = Preparation(self, context)
        self._contents = context.contents
        self._clock = context.clock
        self._metrics = context.metrics
        self._on_outcome = on_outcome
        self._on_deaf = on_deaf
        self.first_messages = FirstMessages(session_id, context.store, on_reachout)
        self._queue = MessageQueue()
        self._current: OpenMessage | None = None
        self._ending: list[OpenMessage] = []
        self._reservations = Reservations()
        self._changed = asyncio.Event()
        self._engine: Engine | None = None
        self._refusal: ErrorDetail | None = None
        self._draining = False
        self._hearing = Hearing()
        self._deferrals = 0

    def __len__(self) -> int:
        """Number of open messages, reserved places included."""
        under_way = len(self._ending) + (self._current is not None)
        return len(self._queue) + under_way + self._reservations.places

    @property
    def content_bytes(self) -> int:
        """Size of the queued messages' content, reserved places included."""
        return self._queue.content_bytes + self._reservations.content_bytes

    @property
    def _under_way(self) -> Iterator[OpenMessage]:
        """Messages that left the queue and whose end is not stored."""
        if self._current is not None:
            yield self._current
        yield from self._ending

    @property
    def sending(self) -> bool:
        """Whether a message is with the engine."""
        return self._current is not None and isinstance(self._current.state, Sending)

    @property
    def oldest_position(self) -> int | None:
        """Position of the oldest open message."""
        positions = [one.queued_position for one in self._under_way]
        if not positions and not self._queue:  # the common case, asked twice a second
            return None
        waiting = self._queue.oldest_position
        return min(positions if waiting is None else [*positions, waiting], default=None)

    @property
    def set_aside(self) -> list[OpenMessage]:
        """Messages that wait for their next try while other chats go on."""
        return self._queue.set_aside

    def resume(self, engine: Engine, *, restricted: bool = False) -> None:
        """Send by this engine. `restricted`: first messages to new chats wait."""
        self._engine, self._refusal, self._deferrals = engine, None, 0
        if self.first_messages.follow(self._clock(), restricted=restricted):
            self._queue.release_reason(REACHOUT_TIMELOCK)
        self._changed.set()

    def pause(self) -> None:
        """Keep messages queued: the session does not work."""
        self._engine, self._refusal = None, None

    def refuse(self, error: ErrorDetail) -> None:
        """Fail queued messages with `error`: the session will not work again."""
        self._engine, self._refusal = None, error
        self._queue.release()
        self._changed.set()

    @contextmanager
    def reserve(self, content_bytes: int = 0) -> Iterator[bool]:
        """Reserve a place inside the block for a message that is being stored and enqueued.

        Yields whether the session is idle: a text may then start in the append that queues it.
        """
        may_begin = self._can_begin and not self.first_messages.are_restricted
        is_idle = may_begin and not self._draining and len(self) == 0
        try:
            with self._reservations.take(content_bytes, is_idle=is_idle):
                yield is_idle
        finally:
            self._changed.set()

    @property
    def _can_begin(self) -> bool:
        """Whether the session works and its pace allows a send."""
        return self._engine is not None and self.pace.due_at() is None

    def enqueue(self, message: OpenMessage, content: Content | None = None) -> None:
        """Queue a message. Without `content` it is read from the store before the send."""
        if content is not None:
            self._contents.keep(self, message.stream, content, content.size)
        self._queue.append(message)
        self._changed.set()

    def open_message(self, message_id: MessageId) -> OpenMessage | None:
        under_way = (one for one in self._under_way if one.facts.id == message_id)
        return self._queue.get(message_id) or next(under_way, None)

    async def cancel(self, message_id: MessageId, causation_id: UUID, reply_to: str | None) -> bool:
        """Cancel a message that is queued or whose media is being fetched; False otherwise."""
        message = self._queue.get(message_id)
        current = self._current
        if current is not None and current.facts.id == message_id and self._preparation.is_running:
            message = current
        if message is None or isinstance(message.state, Sending):
            return False
        message.causation_id = causation_id
        if reply_to:
            message.waiters.append(reply_to)
        await self._end_out_of_turn(message, domain.cancelled(message.facts))
        return True

    async def expire(self, now: datetime) -> None:
        """Fail expired queued messages."""
        for message in self._queue.newly_expired(now):
            still_waits = self._queue.get(message.facts.id) is message
            if still_waits and isinstance(message.state, Queued):
                await self._end_out_of_turn(message, message.expired())

    async def drain(self) -> None:
        """Start no further send, and wait for the end of each started one."""
        self._draining = True
        self._changed.set()
        while self._reservations.has_idle or self._has_begun:
            self._changed.clear()
            await self._changed.wait()

    async def wait_empty(self) -> None:
        """Wait until no message is open and no place is reserved."""
        while len(self):
            self._changed.clear()
            await self._changed.wait()

    @property
    def _has_begun(self) -> bool:
        """Whether a message of the queue is stored as started."""
        first = self._queue.first
        return self._current is not None or (first is not None and isinstance(first.state, Sending))

    async def wait_engine_idle(self, seconds: float) -> None:
        """Wait until no message is with the engine, at most `seconds`."""
        try:
            async with asyncio.timeout(seconds):
                while self.sending:
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            log.info("send_interrupted", session_id=str(self._session_id))

    async def run(self) -> None:
        while True:
            while not self._may_deliver:
                self._changed.clear()
                await self._wait_change_or_turn()
            self._current = self._queue.pop_first()
            try:
                with delivering(self._session_id, self._current):
                    await self._deliver(self._current)
            finally:
                self._current = None
                self._changed.set()

    @property
    def _may_deliver(self) -> bool:
        """A started message is always ended, by its send or by a deferral."""
        self._queue.release(self._clock())
        if self._queue.first is None or self._has_begun:
            return self._has_begun
        return not self._draining and (self._refusal is not None or self._can_begin)

    async def _wait_change_or_turn(self) -> None:
        """Wait for a change, or until the pace or the next try allows a send."""
        with suppress(TimeoutError):
            async with asyncio.timeout(self._seconds_to_turn()):
                await self._changed.wait()

    def _seconds_to_turn(self) -> float | None:
        """Seconds until a send may start without another change; None if none may."""
        if self._engine is None or self._draining:
            return None
        if self._queue.first is not None:
            return self.pace.seconds_left() or None
        due = self._queue.next_release_at()
        return None if due is None else max((due - self._clock()).total_seconds(), 0.001)

    async def _deliver(self, message: OpenMessage) -> None:
        facts = message.facts
        if self._refusal is not None and isinstance(message.state, Queued):
            end = domain.failed(facts, self._refusal.code, self._refusal.message)
            await self._appender.append_end(message, end)
            return
        if facts.expires_at <= self._clock() and isinstance(message.state, Queued):
            await self._appender.append_end(message, message.expired())
            return
        if isinstance(message.state, Queued):
            number = await number_of(facts.to, self._engine)
            if number is not None and self._queue.is_same(facts.to, number):
                self._queue.append(message)  # behind an earlier one to the number
                return
            aside = await self.first_messages.wait_of(self._queue.chat(message), self._clock())
            if aside is not None:
                self._hold(message, aside)
                return
        async with AsyncExitStack() as stack:
            try:
                outgoing = await self._preparation.outgoing(message, stack)
            except MediaError as error:
                if error.may_pass:
                    await self._set_aside(message, ErrorDetail(code=error.code, message=str(error)))
                    return
                end = domain.failed(facts, error.code, str(error))
                await self._appender.append_end(message, end)
                return
            if outgoing is not None:
                await self._send(message, outgoing)

    async def _send(self, message: OpenMessage, outgoing: OutgoingMessage) -> None:
        if isinstance(message.state, Queued) and (
            self._engine is None or message.facts.expires_at <= self._clock()
        ):  # its media took long
            self._queue.append(message)
            return
        engine = self._engine
        if isinstance(message.state, Queued):
            started_at = self._clock()
            await self._appender.append(message, domain.MessageSendStarted(started_at=started_at))
            message.state = Sending(message.facts, started_at)
        outcome = await send_outcome(message.facts, outgoing, engine, self._metrics)
        if isinstance(outcome, domain.MessageSendDeferred):
            await self._appender.append(message, outcome)
        else:
            self.pace.count_send()
            await self._appender.append_end(message, outcome, *changes_by(outgoing.parts, outcome))
        reach(FaultPoint.OUTCOME_STORED)
        await self._on_outcome(message, outcome)
        await self._follow_up(message, outcome)

    async def _follow_up(self, message: OpenMessage, outcome: Event) -> None:
        match outcome:
            case domain.MessageSendDeferred(code=None):
                await self._defer(message, outcome.reason)
            case domain.MessageSendDeferred(code=str(code)):
                message.state = Queued(message.facts)
                await self._set_aside(message, ErrorDetail(code=code, message=outcome.reason))
            case MessageSent():
                if message.queued_at is not None:
                    took = self._clock() - message.queued_at
                    self._metrics.accept_to_ack.observe(took.total_seconds())
                await self.first_messages.accepted(self._queue.chat(message))
        if self._hearing.is_lost_with(outcome):
            await self._on_deaf()

    async def _defer(self, message: OpenMessage, reason: str) -> None:
        message.state = Queued(message.facts)
        self._queue.append(message)
        pause = min(0.1 * 2**self._deferrals, LONGEST_PAUSE_SECONDS)
        self._deferrals += 1
        log.info("send_deferred", to=mask_number(message.facts.to), reason=reason, pause=pause)
        await asyncio.sleep(pause)

    async def _set_aside(self, message: OpenMessage, error: ErrorDetail) -> None:
        """Let the message and its chat wait for its next try; other chats go on."""
        if error.code == REACHOUT_TIMELOCK:
            aside = await self.first_messages.refused(self._queue.chat(message), self._clock())
        else:
            aside = set_aside(message.aside, error, self._clock())
        self._metrics.set_aside.labels(error.code).inc()
        log.info("send_set_aside", code=error.code, tries=aside.tries, until=aside.until)
        self._hold(message, aside)

    def _hold(self, message: OpenMessage, aside: SetAside) -> None:
        if self._refusal is None:
            self._queue.put_aside(message, aside)
        else:  # it ends at once
            self._queue.append(message)

    async def _end_out_of_turn(self, message: OpenMessage, event: Event) -> None:
        """End a waiting message. The message counts as open until its end is stored."""
        if message is self._current:
            self._preparation.cancel()
            self._current = None
        else:
            self._queue.remove(message)
        self._contents.pop(self, message.stream)
        self._ending.append(message)
        try:
            with resumed_trace(message.traceparent):
                await self._appender.append_end(message, event)
        finally:
            self._ending.remove(message)
            self._changed.set()
