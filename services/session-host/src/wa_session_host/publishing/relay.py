"""Relay of one partition: publishes stored events in order and tracks its checkpoint.

Publishing does not wait for the previous event's confirm, so an outcome never waits behind another
event. An event with a waiting request is published at once, after all before it; others are
gathered. After a lost confirm, that event and all later ones are published again: a consumer may
see an event twice but misses none.

A bounded number of events is kept in memory. Later ones are read from the store when their turn
comes, as after a take-over: an outage of the broker fills no memory.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from functools import partial

import structlog

from wa_contracts.message_events import MessageSent
from wa_runtime.fault_points import FaultPoint, reach
from wa_runtime.retries import until_available
from wa_runtime.traces import resumed_trace
from wa_session_host.publishing.outbox import NotConfirmed, Outbox, Publication
from wa_session_host.store.stored_event import StoredEvent

log = structlog.get_logger()

WINDOW = 500
BACKLOG_LIMIT = 200
"""Unconfirmed events per partition from which on the relay is full: commands wait in the broker."""
KEPT_EVENTS = 1000
KEPT_BYTES = 1024 * 1024
"""Unconfirmed events in memory, per partition, from which on further ones stay in the store."""
PAGE = 200
"""Events per read from the store."""
RETRY_SECONDS = 0.3
GATHER_SECONDS = 0.003
"""Maximal delay of an event without a waiting request."""


@dataclass(frozen=True)
class _InFlight:
    stored: StoredEvent
    publication: Publication


Read = Callable[[int, int], Awaitable[list[StoredEvent]]]
"""All events of the partition after a position, in order, up to a number."""


class Relay:
    """Publishes enqueued events in order."""

    def __init__(self, outbox: Outbox, relayed_position: int, read: Read) -> None:
        """`relayed_position` is the former owner's checkpoint."""
        self._outbox = outbox
        self._read = read
        self._waiting: deque[StoredEvent] = deque()
        self._in_flight: deque[_InFlight] = deque()
        self._wake = asyncio.Event()
        self._is_ready = False
        self._will_wake: asyncio.TimerHandle | None = None
        self._moved = asyncio.Event()
        self._has_room = asyncio.Event()
        self._has_room.set()
        self.relayed_position = relayed_position
        self._enqueued_position = self._kept_position = relayed_position
        self._kept_bytes = 0
        self._unread = 0

    def continue_from_store(self, last_position: int, events: int) -> None:
        """Publish what the former owner left, before any enqueued event.

        `events` are stored after its checkpoint, the last one at `last_position`.
        """
        self._enqueued_position = max(self._enqueued_position, last_position)
        self._unread = events
        self._note_backlog()
        self._wake.set()

    def enqueue(self, stored: list[StoredEvent]) -> None:
        """Publish these events next. Internal events only move the checkpoint."""
        if self._is_behind or self._is_full:
            self._unread += len(stored)
        else:
            self._keep(stored)
        if stored:
            self._enqueued_position = stored[-1].position
        self._note_backlog()
        if any(one.reply_to for one in stored):
            if not (self._is_ready and self._publish_waiting()):
                self._wake.set()
        elif self._will_wake is None:
            self._will_wake = asyncio.get_running_loop().call_later(GATHER_SECONDS, self._wake.set)

    def _keep(self, stored: list[StoredEvent]) -> None:
        self._waiting.extend(stored)
        self._kept_bytes += sum(len(one.data_json) for one in stored)
        if stored:
            self._kept_position = stored[-1].position

    @property
    def _is_behind(self) -> bool:
        """Whether the next events are in the store only."""
        return self._kept_position < self._enqueued_position

    @property
    def _is_full(self) -> bool:
        kept = len(self._waiting) + len(self._in_flight)
        return kept >= KEPT_EVENTS or self._kept_bytes >= KEPT_BYTES

    def _note_backlog(self) -> None:
        if self.backlog < BACKLOG_LIMIT:
            self._has_room.set()
        else:
            self._has_room.clear()

    @property
    def backlog(self) -> int:
        """Number of stored, unconfirmed events."""
        return len(self._waiting) + len(self._in_flight) + self._unread

    @property
    def oldest_at(self) -> datetime | None:
        """Time of the oldest stored, unconfirmed event."""
        if self._in_flight:
            return self._in_flight[0].stored.occurred_at
        return self._waiting[0].occurred_at if self._waiting else None

    async def wait_for_room(self) -> None:
        """Wait while the backlog is full."""
        await self._has_room.wait()

    async def wait_flushed(self) -> None:
        """Wait until every event enqueued before this call is confirmed.

        Later events do not extend the wait: a busy partition becomes ready too.
        """
        position = self._enqueued_position
        while self.relayed_position < position:
            self._moved.clear()
            await self._moved.wait()

    async def run(self) -> None:
        while True:
            await self._next_wake()
            if not (self._settle() and await self._read_on() and self._publish_waiting()):
                await self._rewind()
            self._note_backlog()

    async def _next_wake(self) -> None:
        """Wait for work. During the wait `enqueue` may publish directly."""
        self._is_ready = True
        try:
            await self._wake.wait()
        finally:
            self._is_ready = False
        self._wake.clear()
        if self._will_wake is not None:
            self._will_wake.cancel()
            self._will_wake = None

    async def _read_on(self) -> bool:
        """Read a page of the events that are in the store only, once those in memory are few.

        Events that the writer is about to enqueue are left to it.
        """
        if self._is_behind and len(self._waiting) < PAGE and not self._is_full:
            read = partial(self._read, self._kept_position, PAGE)
            page = await until_available("read_events", read)
            self._keep([one for one in page if one.position <= self._enqueued_position])
            if not page:
                self._kept_position = self._enqueued_position
            self._unread = max(self._unread - len(page), 0) if self._is_behind else 0
            self._wake.set()
        return True

    def _publish_waiting(self) -> bool:
        """Publish as many events as the window allows; False if the broker is unavailable."""
        while self._waiting and len(self._in_flight) < WINDOW:
            stored = self._waiting[0]
            try:
                publication = self._published(stored)
            except NotConfirmed as error:
                log.warning("event_not_confirmed", type=stored.type, reason=str(error))
                return False
            self._in_flight.append(_InFlight(self._waiting.popleft(), publication))
        return True

    def _published(self, stored: StoredEvent) -> Publication:
        if stored.session_sequence is None:
            self._wake.set()  # to move the checkpoint
            return Publication()
        with resumed_trace(stored.traceparent):
            publication = self._outbox.publish_event(stored)
        for confirm in publication.confirms:
            confirm.add_done_callback(self._woken)
        return publication

    def _woken(self, _: object) -> None:
        self._wake.set()

    def _settle(self) -> bool:
        """Move the checkpoint over the confirmed prefix; False if an event must be repeated."""
        while self._in_flight and self._in_flight[0].publication.is_done:
            stored = self._in_flight[0].stored
            try:
                self._outbox.raise_if_unconfirmed(self._in_flight[0].publication)
            except NotConfirmed as error:
                log.warning("event_not_confirmed", type=stored.type, reason=str(error))
                return False
            if stored.type == MessageSent.TYPE:
                reach(FaultPoint.EVENT_PUBLISHED)
            self._in_flight.popleft()
            self._kept_bytes -= len(stored.data_json)
            self.relayed_position = stored.position
            self._moved.set()
        return True

    async def _rewind(self) -> None:
        """Enqueue all unconfirmed events again once the broker accepts messages."""
        if confirms := [c for one in self._in_flight for c in one.publication.confirms]:
            await asyncio.wait(confirms)
        self._waiting.extendleft(one.stored for one in reversed(self._in_flight))
        self._in_flight.clear()
        await asyncio.sleep(RETRY_SECONDS)
        await self._outbox.wait_writable()
        self._wake.set()
