"""Writes a batch of events to all projections in one transaction."""

import asyncio
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from datetime import datetime
from typing import TypeAlias
from uuid import UUID

import asyncpg

from wa_api.database.notifications import CHANNEL
from wa_api.database.pool import Connection, Database
from wa_api.projecting.order import Arrival, EarlyArrivals, Order
from wa_api.projecting.tables import checkpoints, feed, messages, sessions, skipped_events
from wa_api.projecting.tables.messages import MessageRow
from wa_api.projecting.tables.sessions import SessionRow
from wa_contracts.envelope import Envelope
from wa_contracts.internal.replies import MessageStatus

SERVING_LOCK = (
    0x77615F70726F6A65  # "wa_proje": a projector that lost its queue may still be writing
)
SHADOW_LOCK = SERVING_LOCK + 1

Events: TypeAlias = Mapping[UUID, Sequence[Envelope]]
"""Events by session, in sequence order."""


@dataclass(frozen=True)
class Written:
    """Result of a batch: events applied, duplicates dropped, events held back behind a gap."""

    applied: int
    known: int
    ahead: int


class ProjectionWriter:
    """The only writer of the read tables."""

    def __init__(self, database: Database, *, shadow: bool = False) -> None:
        """A `shadow` writer fills the shadow tables. It neither feeds nor notifies."""
        self._database = database
        self._shadow = shadow
        self._early = EarlyArrivals()

    async def write(
        self, arrivals: Sequence[Arrival], meanwhile: Callable[[], None] = lambda: None
    ) -> Written:
        """Apply due events and drop duplicates.

        Early arrivals stay in memory until a batch closes the gap. `meanwhile` is called once the
        rows are loaded, so that decoding overlaps with the write.

        Raises:
            DatabaseUnavailable: Nothing is written; try again.
            asyncpg.PostgresError: Nothing is written; an event cannot be stored.
        """
        try:
            order = await self._apply(arrivals, meanwhile)
        except asyncpg.PostgresError:
            self._early = EarlyArrivals()  # an early arrival may be the refused event
            raise
        written = Written(len(order.due), order.known, order.ahead)
        order.keep_early()
        return written

    async def _apply(self, arrivals: Sequence[Arrival], meanwhile: Callable[[], None]) -> Order:
        async with self._database.transaction() as connection:
            await connection.execute(LOCK, SHADOW_LOCK if self._shadow else SERVING_LOCK)
            at = await checkpoints.load(connection, {a.session_id for a in arrivals})
            order = Order(at, self._early, await self._skipped(connection, arrivals, at))
            order.add(arrivals)
            events = order.projects
            rows = await _Rows.load(connection, events)
            meanwhile()
            feeding = asyncio.create_task(self._feed(connection, order.due))
            try:
                await rows.evolve(events)
            finally:
                await feeding
            await rows.save(connection)
            await checkpoints.save(connection, order.checkpoints)
            if not self._shadow:
                await _save_skipped(connection, order)
        return order

    async def _skipped(
        self,
        connection: Connection,
        arrivals: Sequence[Arrival],
        at: Mapping[UUID, checkpoints.Checkpoint],
    ) -> Mapping[UUID, Collection[int]]:
        """What was passed over of the sessions that have an arrival from before their checkpoint."""
        again = {a.session_id for a in arrivals if a.sequence <= at[a.session_id].done}
        if self._shadow or not again:
            return {}
        return await skipped_events.load(connection, again)

    async def gaps(self) -> Mapping[UUID, int]:
        """Sessions with a gap, and the first missing sequence of each.

        Raises:
            DatabaseUnavailable: The gaps cannot be read.
        """
        async with self._database.connection() as connection:
            return await checkpoints.gaps(connection)

    async def database_time(self) -> datetime:
        """The database's time: this machine's may be off.

        Raises:
            DatabaseUnavailable: The time cannot be read.
        """
        async with self._database.connection() as connection:
            now: datetime = await connection.fetchval("SELECT clock_timestamp()")
        return now

    async def _feed(self, connection: Connection, due: Sequence[Arrival]) -> None:
        events = [(one.event, one.json) for one in due if one.event is not None]
        if events and not self._shadow:
            await feed.append(connection, events)
            await connection.execute(NOTIFY_LAST, CHANNEL)


async def _save_skipped(connection: Connection, order: Order) -> None:
    if order.passed_over:
        await skipped_events.add(connection, order.passed_over)
    if order.late:
        await skipped_events.remove(connection, order.late)


class _Rows:
    """Rows touched by a batch, changed in place."""

    def __init__(
        self, session_rows: Mapping[UUID, SessionRow], message_rows: dict[UUID, MessageRow]
    ) -> None:
        self._before = session_rows
        self._sessions = {id_: copy(row) for id_, row in session_rows.items()}
        self._messages = message_rows
        self._removed: set[UUID] = set()

    @classmethod
    async def load(cls, connection: Connection, events: Events) -> "_Rows":
        ids = {id_ for of_one in events.values() for event in of_one if (id_ := _message_id(event))}
        return cls(
            await sessions.load(connection, events.keys()) if events else {},
            await messages.load(connection, ids) if ids else {},
        )

    async def evolve(self, events: Events) -> None:
        """Apply the events. Yields to the loop between sessions."""
        for session_id, of_one in events.items():
            self._apply(session_id, of_one)
            await asyncio.sleep(0)

    async def save(self, connection: Connection) -> None:
        if self._removed:
            await sessions.remove(connection, self._removed)
        changed = [row for id_, row in self._sessions.items() if row != self._before.get(id_)]
        if changed:
            await sessions.save(connection, changed)
        if self._messages:
            await messages.save(connection, list(self._messages.values()))

    def _apply(self, session_id: UUID, events: Iterable[Envelope]) -> None:
        row = self._sessions.pop(session_id, None)
        for event in events:
            row = sessions.evolve(row, event)
            if row is None:
                self._forget(session_id)
            elif message_id := _message_id(event):
                more = self._apply_to_message(message_id, event, row.phone_number)
                row.queued = max(0, row.queued + more)
        if row is not None:
            self._sessions[session_id] = row

    def _apply_to_message(self, message_id: UUID, event: Envelope, own_number: str | None) -> int:
        """Apply an event to a message; return the change in the number of queued messages."""
        before = self._messages.get(message_id)
        was_queued = before is not None and before.status == _QUEUED
        after = messages.evolve(before, event, own_number)
        if after is None:
            return 0
        if after is not before:
            self._messages[message_id] = after
        return (after.status == _QUEUED) - was_queued

    def _forget(self, session_id: UUID) -> None:
        self._removed.add(session_id)
        self._messages = {
            i: row for i, row in self._messages.items() if row.session_id != session_id
        }


def _message_id(event: Envelope) -> UUID | None:
    return getattr(event.data, "id", None)


_QUEUED = MessageStatus.QUEUED
LOCK = "SELECT pg_advisory_xact_lock($1)"
NOTIFY = "SELECT pg_notify($1, $2)"
NOTIFY_LAST = "SELECT pg_notify($1, lastval()::text)"
"""The payload is the feed position of the last appended event: this connection's `lastval()`."""
