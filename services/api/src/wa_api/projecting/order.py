"""Which events are due: each session's in the order of its sequence, each once."""

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple
from uuid import UUID

from wa_api.projecting.tables.checkpoints import Checkpoint
from wa_contracts.envelope import Envelope


class Arrival(NamedTuple):
    """An event that arrived, and its place in its session's order.

    `predecessor` is the sequence of the event before it: the one below in what hosts publish as it
    happens; less in a replay from which retention has removed something. `event` is None for one
    that cannot be projected: its place is passed over. `json` is the event as it was published, if it
    was in its newest version.
    """

    session_id: UUID
    sequence: int
    predecessor: int
    event: Envelope | None
    json: str | None = None

    @classmethod
    def of(cls, event: Envelope, predecessor: int | None = None) -> "Arrival":
        """An event that can be projected; without `predecessor` as published when it happened."""
        sequence = event.session_sequence
        before = sequence - 1 if predecessor is None else predecessor
        return cls(event.session_id, sequence, before, event)


EARLY_BYTES = 4 * 1024 * 1024
"""JSON of the early arrivals that are kept; read, they take about five times as much."""


class EarlyArrivals:
    """Arrivals behind a gap, by session and sequence. Keeps the newest, up to a number of bytes.

    A replay that closes the gap of a busy session ends before live events that came meanwhile.
    Without these, each replay would leave the next gap. An arrival that is not kept arrives again
    with the next replay. One without its JSON has no known size and is not kept.
    """

    def __init__(self, limit: int = EARLY_BYTES) -> None:
        """`limit`: bytes of JSON."""
        self._room = limit
        self._sessions: dict[UUID, dict[int, Arrival]] = {}
        self._oldest_first: deque[Arrival] = deque()

    def of(self, session_id: UUID) -> Mapping[int, Arrival]:
        """The session's early arrivals by their sequence."""
        return self._sessions.get(session_id, {})

    def keep(self, session_id: UUID, early: Mapping[int, Arrival]) -> None:
        """Replace the session's early arrivals by these."""
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
    """A session in this batch: where it stands, what is to be projected, what came too early."""

    __slots__ = ("at", "early", "projects")

    def __init__(self, at: Checkpoint, early: Mapping[int, Arrival]) -> None:
        self.at = at
        self.projects: list[Envelope] = []
        self.early = dict(early)


class Order:
    """Decides, by the checkpoints, which arrivals are due; moves the checkpoints on."""

    def __init__(
        self, start: Mapping[UUID, Checkpoint], early: EarlyArrivals | None = None
    ) -> None:
        """`start` has the checkpoints of all sessions that events arrive of.

        `early` has the arrivals of earlier batches that wait for a gap to close. It is not changed:
        `keep_early` does that after the commit.
        """
        self._early = early or EarlyArrivals()
        self.checkpoints = start
        self.due: list[Arrival] = []
        """What is next in its session's order, in that order."""
        self.known = 0
        self._sessions = {
            session: _Progress(at, self._early.of(session)) for session, at in start.items()
        }

    @property
    def projects(self) -> Mapping[UUID, Sequence[Envelope]]:
        """The events that are due, by their session; without the ones that only the feed lacks."""
        return {id_: one.projects for id_, one in self._sessions.items() if one.projects}

    def take(self, arrivals: Iterable[Arrival]) -> None:
        """Add to what is due; keep aside what comes before its turn."""
        for arrival in arrivals:
            session = self._sessions[arrival.session_id]
            done = session.at.done
            if arrival.sequence <= done:
                self.known += 1
            elif arrival.predecessor <= done and not session.early:
                self._move_on(arrival, session)
            else:
                self._keep(arrival, session)
                self._take_early(session)

    @property
    def ahead(self) -> int:
        """How many of the arrivals came before their turn and wait for it."""
        return sum(
            len(session.early.keys() - self._early.of(session_id).keys())
            for session_id, session in self._sessions.items()
        )

    def keep_early(self) -> None:
        """Keep what came before its turn for the batches to come."""
        for session_id, session in self._sessions.items():
            if session.early or self._early.of(session_id):
                self._early.keep(session_id, session.early)

    def _keep(self, arrival: Arrival, session: _Progress) -> None:
        sequence = arrival.sequence
        twin = session.early.get(sequence)
        if twin is not None:
            self.known += 1
        if twin is None or arrival.predecessor < twin.predecessor:
            session.early[sequence] = arrival
        session.at.seen = max(session.at.seen, sequence)

    def _take_early(self, session: _Progress) -> None:
        early = session.early
        while early:
            arrival = early[min(early)]
            done = session.at.done
            if arrival.sequence > done and arrival.predecessor > done:
                return
            del early[arrival.sequence]
            if arrival.sequence > done:
                self._move_on(arrival, session)

    def _move_on(self, arrival: Arrival, session: _Progress) -> None:
        _, sequence, _, event, _ = arrival
        at = session.at
        self.due.append(arrival)
        if sequence > at.applied:
            at.applied = sequence
            if event is not None:
                session.projects.append(event)
        at.seen = max(at.seen, sequence)
        if at.fed is not None:
            at.fed = None if sequence >= at.applied else sequence
