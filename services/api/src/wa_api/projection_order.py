"""Which events are due: each session's in the order of its sequence, each once."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple
from uuid import UUID

from wa_api.projections.checkpoints import Checkpoint
from wa_contracts.envelope import Envelope


class Arrival(NamedTuple):
    """An event that arrived, and its place in its session's order.

    `predecessor` is the sequence of the event before it: the one below in what hosts publish as it
    happens; less in a replay from which retention has removed something. `event` is None for one
    that cannot be projected: its place is passed over.
    """

    session_id: UUID
    sequence: int
    predecessor: int
    event: Envelope | None

    @classmethod
    def of(cls, event: Envelope, predecessor: int | None = None) -> "Arrival":
        """An event that can be projected; without `predecessor` as published when it happened."""
        sequence = event.session_sequence
        before = sequence - 1 if predecessor is None else predecessor
        return cls(event.session_id, sequence, before, event)


class Due(NamedTuple):
    """An event whose turn it is. `projects` is False for one that only the feed lacks."""

    arrival: Arrival
    projects: bool


class Order:
    """Decides, by the checkpoints, which arrivals are due; moves the checkpoints on."""

    def __init__(self, start: dict[UUID, Checkpoint]) -> None:
        """`start` has the checkpoints of all sessions that events arrive of."""
        self.checkpoints = start
        self.known = 0
        self._early: dict[UUID, dict[int, Arrival]] = {}

    def due(self, arrivals: Sequence[Arrival]) -> Iterator[Due]:
        """The arrivals that are next in their session's order, in that order."""
        for arrival in arrivals:
            session, sequence, predecessor, _ = arrival
            at = self.checkpoints[session]
            if sequence <= (done := at.done):
                self.known += 1
            elif session not in self._early and predecessor <= done:
                yield self._moved_on(arrival, at)
            else:
                self._keep(arrival, at)
                yield from self._next_ones(session)

    def _keep(self, arrival: Arrival, at: Checkpoint) -> None:
        session, sequence = arrival.session_id, arrival.sequence
        early = self._early.setdefault(session, {})
        twin = early.get(sequence)
        if twin is not None:
            self.known += 1
        if twin is None or arrival.predecessor < twin.predecessor:
            early[sequence] = arrival
        self.checkpoints[session] = at._replace(seen=max(at.seen, sequence))

    def _next_ones(self, session: UUID) -> Iterator[Due]:
        early = self._early[session]
        while early:
            at = self.checkpoints[session]
            arrival = early[min(early)]
            if arrival.predecessor > at.done:
                return
            del early[arrival.sequence]
            yield self._moved_on(arrival, at)
        del self._early[session]

    def _moved_on(self, arrival: Arrival, at: Checkpoint) -> Due:
        sequence, (applied, seen, fed) = arrival.sequence, at
        projects = sequence > applied
        if projects:
            applied = sequence
        if fed is not None:
            fed = None if sequence >= applied else sequence
        self.checkpoints[arrival.session_id] = Checkpoint(applied, max(seen, sequence), fed)
        return Due(arrival, projects)
