"""Which events are due: each session's in the order of its sequence, each once."""

from collections.abc import Iterable
from typing import NamedTuple
from uuid import UUID

from wa_api.projections.checkpoints import Checkpoint
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


class Order:
    """Decides, by the checkpoints, which arrivals are due; moves the checkpoints on."""

    def __init__(self, start: dict[UUID, Checkpoint]) -> None:
        """`start` has the checkpoints of all sessions that events arrive of."""
        self.checkpoints = start
        self.due: list[Arrival] = []
        """What is next in its session's order, in that order."""
        self.projects: list[Envelope] = []
        """The events of those; without the ones that only the feed lacks."""
        self.known = 0
        self._early: dict[UUID, dict[int, Arrival]] = {}

    def take(self, arrivals: Iterable[Arrival]) -> None:
        """Add to what is due; keep aside what comes before its turn."""
        for arrival in arrivals:
            session = arrival.session_id
            at = self.checkpoints[session]
            done = at.done
            if arrival.sequence <= done:
                self.known += 1
            elif arrival.predecessor <= done and session not in self._early:
                self._move_on(arrival, at)
            else:
                self._keep(arrival, at)
                self._take_early(session, at)

    def _keep(self, arrival: Arrival, at: Checkpoint) -> None:
        sequence = arrival.sequence
        early = self._early.setdefault(arrival.session_id, {})
        twin = early.get(sequence)
        if twin is not None:
            self.known += 1
        if twin is None or arrival.predecessor < twin.predecessor:
            early[sequence] = arrival
        at.seen = max(at.seen, sequence)

    def _take_early(self, session: UUID, at: Checkpoint) -> None:
        early = self._early[session]
        while early:
            arrival = early[min(early)]
            if arrival.predecessor > at.done:
                return
            del early[arrival.sequence]
            self._move_on(arrival, at)
        del self._early[session]

    def _move_on(self, arrival: Arrival, at: Checkpoint) -> None:
        _, sequence, _, event, _ = arrival
        self.due.append(arrival)
        if sequence > at.applied:
            at.applied = sequence
            if event is not None:
                self.projects.append(event)
        at.seen = max(at.seen, sequence)
        if at.fed is not None:
            at.fed = None if sequence >= at.applied else sequence
