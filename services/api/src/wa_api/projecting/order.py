"""Decides which events are due: each event once, in the order of its session's sequence."""

from collections import deque
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import NamedTuple
from uuid import UUID

from wa_api.projecting.tables.checkpoints import Checkpoint
from wa_contracts.envelope import Envelope


class Arrival(NamedTuple):
    """An event that arrived, and its place in its session's order.

    `predecessor` is the previous event's sequence: `sequence - 1` for live events, lower in a
    replay if retention deleted the events in between. `event` is None if it cannot be decoded or
    stored; its place is skipped. `json` is the published text of an event in its newest version.
    """

    session_id: UUID
    sequence: int
    predecessor: int
    event: Envelope | None
    json: str | None = None

    @classmethod
    def of(cls, event: Envelope, predecessor: int | None = None) -> "Arrival":
        """Create an arrival. Without `predecessor`, the event is a live one."""
        sequence = event.session_sequence
        before = sequence - 1 if predecessor is None else predecessor
        return cls(event.session_id, sequence, before, event)


EARLY_BYTES = 4 * 1024 * 1024
"""Limit for stored early arrivals, in bytes of JSON. Decoded events take about five times as
much."""


class EarlyArrivals:
    """Arrivals behind a gap, by session and sequence. The oldest are dropped above the byte limit.

    A busy session publishes new events while a replay closes its gap. Without this buffer, each
    replay would leave another gap. The next replay repeats dropped arrivals. An arrival without
    JSON has no known size and is dropped.
    """

    def __init__(self, limit: int = EARLY_BYTES) -> None:
        """`limit` is in bytes of JSON."""
        self._room = limit
        self._sessions: dict[UUID, dict[int, Arrival]] = {}
        self._oldest_first: deque[Arrival] = deque()

    def of(self, session_id: UUID) -> Mapping[int, Arrival]:
        return self._sessions.get(session_id, {})

    def keep(self, session_id: UUID, early: Mapping[int, Arrival]) -> None:
        before = self._sessions.pop(session_id, {})
        kept = {sequence: one for sequence, one in early.items() if one.json is not None}
        if kept:
            self._sessions[session_id] = kept
        for sequence, one in kept.items():
            if before.get(sequence) is not one:
                self._oldest_first.append(one)
                self._room -= len(one.json or "")
        while self._room < 0:
            self._drop(self._oldest_first.popleft())

    def _drop(self, oldest: Arrival) -> None:
        self._room += len(oldest.json or "")
        of_session = self._sessions.get(oldest.session_id, {})
        if of_session.get(oldest.sequence) is oldest:
            del of_session[oldest.sequence]
            if not of_session:
                del self._sessions[oldest.session_id]


class _Progress:
    """One session in this batch: checkpoint, events to project, early arrivals."""

    __slots__ = ("checkpoint", "early", "projects")

    def __init__(self, checkpoint: Checkpoint, early: Mapping[int, Arrival]) -> None:
        self.checkpoint = checkpoint
        self.projects: list[Envelope] = []
        self.early = dict(early)


class Order:
    """Selects due arrivals by the checkpoints and advances the checkpoints."""

    def __init__(
        self,
        start: Mapping[UUID, Checkpoint],
        early: EarlyArrivals | None = None,
        skipped: Mapping[UUID, Collection[int]] | None = None,
    ) -> None:
        """Start with the checkpoints of all sessions in the batch.

        `early` has earlier batches' early arrivals. It is unchanged until `keep_early`, after the
        commit. `skipped` has the sequences that earlier batches passed over.
        """
        self._skipped = skipped or {}
        self.passed_over: set[tuple[UUID, int]] = set()
        """Places of due arrivals without an event."""
        self.late: set[tuple[UUID, int]] = set()
        """Places that were passed over and whose events came now: due, for the feed only."""
        self._early = early or EarlyArrivals()
        self.checkpoints = start
        self.due: list[Arrival] = []
        """Due arrivals, in session order except late ones."""
        self.known = 0
        self._sessions = {
            session: _Progress(at, self._early.of(session)) for session, at in start.items()
        }

    @property
    def projects(self) -> Mapping[UUID, Sequence[Envelope]]:
        """Due events by session, without events that only the feed lacks."""
        return {id_: one.projects for id_, one in self._sessions.items() if one.projects}

    def add(self, arrivals: Iterable[Arrival]) -> None:
        """Sort arrivals into due and early ones."""
        for arrival in arrivals:
            session = self._sessions[arrival.session_id]
            done = session.checkpoint.done
            if self._is_late(arrival):
                self.due.append(arrival)
                self.late.add((arrival.session_id, arrival.sequence))
            elif arrival.sequence <= done:
                self.known += 1
            elif arrival.predecessor <= done and not session.early:
                self._advance(arrival, session)
            else:
                self._hold(arrival, session)
                self._release_early(session)

    def _is_late(self, arrival: Arrival) -> bool:
        return (
            arrival.event is not None
            and arrival.sequence in self._skipped.get(arrival.session_id, ())
            and (arrival.session_id, arrival.sequence) not in self.late
        )

    @property
    def ahead(self) -> int:
        """Number of this batch's arrivals that wait behind a gap."""
        return sum(
            len(session.early.keys() - self._early.of(session_id).keys())
            for session_id, session in self._sessions.items()
        )

    def keep_early(self) -> None:
        for session_id, session in self._sessions.items():
            if session.early or self._early.of(session_id):
                self._early.keep(session_id, session.early)

    def _hold(self, arrival: Arrival, session: _Progress) -> None:
        sequence = arrival.sequence
        twin = session.early.get(sequence)
        if twin is not None:
            self.known += 1
        if twin is None or arrival.predecessor < twin.predecessor:
            session.early[sequence] = arrival
        session.checkpoint.seen = max(session.checkpoint.seen, sequence)

    def _release_early(self, session: _Progress) -> None:
        early = session.early
        while early:
            arrival = early[min(early)]
            done = session.checkpoint.done
            if arrival.sequence > done and arrival.predecessor > done:
                return
            del early[arrival.sequence]
            if arrival.sequence > done:
                self._advance(arrival, session)

    def _advance(self, arrival: Arrival, session: _Progress) -> None:
        _, sequence, _, event, _ = arrival
        checkpoint = session.checkpoint
        self.due.append(arrival)
        if event is None:
            self.passed_over.add((arrival.session_id, sequence))
        if sequence > checkpoint.applied:
            checkpoint.applied = sequence
            if event is not None:
                session.projects.append(event)
        checkpoint.seen = max(checkpoint.seen, sequence)
        if checkpoint.fed is not None:
            checkpoint.fed = None if sequence >= checkpoint.applied else sequence
