"""Messages of one partition that go out later. They are in the store; memory has their number."""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from functools import partial

from wa_contracts.ids import SessionId
from wa_contracts.internal.replies import ErrorDetail
from wa_contracts.session_events import Event
from wa_runtime.retries import until_available
from wa_runtime.traces import resumed_trace
from wa_session_host.domain import message as domain
from wa_session_host.domain.message import Content, Scheduled
from wa_session_host.sessions.context import SessionContext
from wa_session_host.sessions.open_message import OpenMessage
from wa_session_host.sessions.owner import SessionOwner, backlog_error
from wa_session_host.store.stored_event import (
    Append,
    StoredEvent,
    VersionConflict,
    message_state,
)

LOOK_EVERY_SECONDS = 1.0
"""How soon the messages of a session fail that refuses its backlog."""
PAGE = 200
_ENDLESS = datetime.max.replace(tzinfo=UTC)


class Schedule:
    """Queues each message at its time, by the database's clock: never earlier, in that order."""

    def __init__(
        self,
        partition: int,
        context: SessionContext,
        owner_of: Callable[[SessionId], SessionOwner | None],
    ) -> None:
        """`owner_of` finds the owner of an existing session."""
        self._partition = partition
        self._store = context.store
        self._writer = context.writer
        self._clock = context.clock
        self._owner_of = owner_of
        self._numbers: Counter[SessionId] = Counter()
        self._next: datetime | None = None
        self._changed = asyncio.Event()

    async def load(self) -> None:
        """Read how many messages wait, and when the first one is due."""
        numbers, self._next = await self._store.scheduled(self._partition)
        self._numbers = Counter(numbers)

    def number_of(self, session_id: SessionId) -> int:
        """How many messages of the session wait for their time."""
        return self._numbers[session_id]

    @contextmanager
    def place(self, session_id: SessionId, send_at: datetime) -> Iterator[None]:
        """Store a message that is due then inside the block; it takes its place at once."""
        self._numbers[session_id] += 1
        try:
            yield
        except BaseException:
            self.ended(session_id)
            raise
        self._next = send_at if self._next is None else min(self._next, send_at)
        self._changed.set()

    def ended(self, session_id: SessionId) -> None:
        """A message no longer waits: it was cancelled, failed or queued."""
        self._numbers[session_id] -= 1
        if self._numbers[session_id] <= 0:
            del self._numbers[session_id]

    async def run(self) -> None:
        """Queue what is due, and fail what its session refuses, until cancelled."""
        while True:
            await self._wait()
            for session_id in tuple(self._numbers):
                error = self._refusal(session_id)
                if error is not None:
                    await self._end_all(session_id, error)
            await self._queue_due()

    async def _wait(self) -> None:
        """Wait for the next time or a new message; without messages as long as it takes."""
        self._changed.clear()
        seconds = LOOK_EVERY_SECONDS if self._numbers else None
        if seconds is not None and self._next is not None:
            left = (self._next - self._clock()).total_seconds()
            seconds = min(seconds, max(left, 0.001))
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._changed.wait()

    def _refusal(self, session_id: SessionId) -> ErrorDetail | None:
        owner = self._owner_of(session_id)
        return backlog_error(None if owner is None else owner.status)

    async def _queue_due(self) -> None:
        while self._next is not None and (now := self._clock()) >= self._next:
            self._next = None
            page = await self._page(now)
            await self._end(page, None)
            following = now if len(page) == PAGE else await self._next_due(now)
            if following is not None:
                self._next = following if self._next is None else min(self._next, following)

    async def _end_all(self, session_id: SessionId, error: ErrorDetail) -> None:
        while page := await self._page(_ENDLESS, session_id):
            await self._end(page, error)
        self._numbers.pop(session_id, None)

    async def _page(
        self, at: datetime, session_id: SessionId | None = None
    ) -> Sequence[list[StoredEvent]]:
        read = partial(self._store.due_messages, self._partition, at, PAGE, session_id)
        return await until_available("read_scheduled", read)

    async def _next_due(self, after: datetime) -> datetime | None:
        read = partial(self._store.next_due, self._partition, after)
        return await until_available("read_next_scheduled", read)

    async def _end(self, page: Sequence[list[StoredEvent]], error: ErrorDetail | None) -> None:
        """Queue or fail these messages. The appends begin, and are stored, in their order."""
        async with asyncio.TaskGroup() as group:
            for events in page:
                group.create_task(self._end_one(events, error))

    async def _end_one(self, events: list[StoredEvent], error: ErrorDetail | None) -> None:
        state = message_state(events)
        if not isinstance(state, Scheduled):
            return
        session_id = events[0].session_id
        owner = self._owner_of(session_id)
        refused = error or self._refusal(session_id)
        if refused is None and state.facts.expires_at <= self._clock():
            refused = domain.expired(state.facts.type, "The message was not sent within its time.")
        with resumed_trace(events[-1].traceparent), suppress(VersionConflict):  # it was cancelled
            if refused is not None or owner is None:
                assert refused is not None
                failed = domain.failed(state.facts, refused.code, refused.message)
                await self._append(events, failed, None)
            else:
                await self._queue(events, state, owner)
            self.ended(session_id)

    async def _queue(
        self, events: list[StoredEvent], state: Scheduled, owner: SessionOwner
    ) -> None:
        content = next(found for one in reversed(events) if (found := one.content) is not None)
        content = content.model_copy(update={"reply_to": None})
        queued = domain.due(state)
        with owner.runner.reserve(content.size):
            stored = await self._append(events, queued, content)
            waiting = domain.evolve(state, queued, content)
            assert isinstance(waiting, domain.Queued)
            message = OpenMessage.restored(waiting, stored, content.size)
            owner.runner.enqueue(message, content)

    async def _append(
        self, events: list[StoredEvent], event: Event, content: Content | None
    ) -> list[StoredEvent]:
        last = events[-1]
        return await self._writer.append(
            Append(
                partition=self._partition,
                session_id=last.session_id,
                stream=last.stream,
                expected_version=last.stream_version,
                events=(event,),
                correlation_id=last.correlation_id,
                causation_id=last.id,
                content=content,
            )
        )
