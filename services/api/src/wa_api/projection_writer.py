"""Writes a batch of events into all projections, in one transaction."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from uuid import UUID

from wa_api.database import Connection, Database
from wa_api.live import CHANNEL
from wa_api.projections import checkpoints, feed, messages, sessions
from wa_api.projections.checkpoints import Checkpoint
from wa_api.projections.messages import MessageRow
from wa_api.projections.sessions import SessionRow
from wa_contracts.envelope import Envelope
from wa_contracts.replies import MessageStatus

_LOCK = 0x77615F70726F6A65  # "wa_proje": a projector that lost its queue may still be writing


@dataclass(frozen=True)
class Skipped:
    """An event that cannot be projected: its place in the session's order is passed over."""

    session_id: UUID
    session_sequence: int


Arrival = Envelope | Skipped


@dataclass(frozen=True)
class Written:
    """What a batch led to: events applied, duplicates dropped, events kept back behind a gap."""

    applied: int
    known: int
    ahead: int


class ProjectionWriter:
    """The only writer of the read tables."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def write(self, arrivals: Sequence[Arrival]) -> Written:
        """Apply what is next in its session's order; drop what is known; keep nothing of the rest.

        Raises:
            DatabaseUnavailable: nothing is written; try again.
            asyncpg.PostgresError: nothing is written; an event among them cannot be stored.
        """
        async with self._database.transaction() as connection:
            await connection.execute("SELECT pg_advisory_xact_lock($1)", _LOCK)
            order = _Order(await checkpoints.load(connection, {a.session_id for a in arrivals}))
            due = list(order.due(arrivals))
            events = [arrival for arrival in due if isinstance(arrival, Envelope)]
            if events:
                await _project(connection, events)
                position = await feed.append(connection, events)
                await connection.execute("SELECT pg_notify($1, $2)", CHANNEL, str(position))
            await checkpoints.save(connection, order.checkpoints)
        return Written(len(due), order.known, len(arrivals) - len(due) - order.known)

    async def gaps(self) -> Mapping[UUID, int]:
        """Sessions with missing events, and the first that is missing.

        Raises:
            DatabaseUnavailable: not known now.
        """
        async with self._database.connection() as connection:
            return await checkpoints.gaps(connection)


class _Order:
    """Decides, by the checkpoints, which arrivals are due; moves the checkpoints on."""

    def __init__(self, start: dict[UUID, Checkpoint]) -> None:
        self.checkpoints = start
        self.known = 0
        self._early: defaultdict[UUID, dict[int, Arrival]] = defaultdict(dict)

    def due(self, arrivals: Sequence[Arrival]) -> Iterator[Arrival]:
        """The arrivals that are next in their session's order, in that order."""
        for arrival in arrivals:
            session, sequence = arrival.session_id, arrival.session_sequence
            early, at = self._early[session], self.checkpoints[session]
            if sequence <= at.applied or sequence in early:
                self.known += 1
                continue
            self.checkpoints[session] = Checkpoint(at.applied, max(at.seen, sequence))
            early[sequence] = arrival
            yield from self._next_ones(session)

    def _next_ones(self, session: UUID) -> Iterator[Arrival]:
        early = self._early[session]
        while (arrival := early.pop(self.checkpoints[session].applied + 1, None)) is not None:
            at = self.checkpoints[session]
            self.checkpoints[session] = replace(at, applied=at.applied + 1)
            yield arrival


async def _project(connection: Connection, events: Sequence[Envelope]) -> None:
    touched = {event.session_id for event in events}
    ids = {id_ for event in events if (id_ := _message_id(event))}
    rows = _Rows(
        await sessions.load(connection, touched),
        await messages.load(connection, ids) if ids else {},
    )
    for event in events:
        rows.apply(event)
    if rows.removed:
        await sessions.remove(connection, rows.removed)
    if rows.sessions:
        await sessions.save(connection, list(rows.sessions.values()))
    if rows.messages:
        await messages.save(connection, list(rows.messages.values()))


class _Rows:
    """The rows that a batch touches."""

    def __init__(
        self, session_rows: dict[UUID, SessionRow], message_rows: dict[UUID, MessageRow]
    ) -> None:
        self.sessions = session_rows
        self.messages = message_rows
        self.removed: set[UUID] = set()

    def apply(self, event: Envelope) -> None:
        """Evolve the session and the message that the event is about."""
        before = self.sessions.get(event.session_id)
        after = sessions.evolve(before, event)
        if after is None:
            self._forget(event.session_id)
            return
        if (message_id := _message_id(event)) is not None:
            after = self._apply_to_message(message_id, event, after)
        self.sessions[event.session_id] = after

    def _apply_to_message(
        self, message_id: UUID, event: Envelope, session: SessionRow
    ) -> SessionRow:
        before = self.messages.get(message_id)
        after = messages.evolve(before, event, session.phone_number)
        if after is None:
            return session
        self.messages[message_id] = after
        return replace(session, queued=max(0, session.queued + _queued(after) - _queued(before)))

    def _forget(self, session_id: UUID) -> None:
        self.removed.add(session_id)
        self.sessions.pop(session_id, None)
        self.messages = {i: row for i, row in self.messages.items() if row.session_id != session_id}


def _queued(row: MessageRow | None) -> int:
    return int(row is not None and row.status == MessageStatus.QUEUED)


def _message_id(event: Envelope) -> UUID | None:
    return getattr(event.data, "id", None)
