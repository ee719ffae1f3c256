"""Which events are due: each session's in the order of its sequence, each once."""

from collections.abc import Iterable, Mapping, Sequence
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


class _Progress:
    """A session in this batch: where it stands, what is to be projected, what came too early."""

    __slots__ = ("at", "early", "projects")

    def __init__(self, at: Checkpoint) -> None:
        self.at = at
        self.projects: list[Envelope] = []
        self.early: dict[int, Arrival] = {}


class Order:
    """Decides, by the checkpoints, which arrivals are due; moves the checkpoints on."""

    def __init__(self, start: Mapping[UUID, Checkpoint]) -> None:
        """`start` has the checkpoints of all sessions that events arrive of."""
        self.checkpoints = start
        self.due: list[Arrival] = []
        """What is next in its session's order, in that order."""
        self.known = 0
        self._sessions = {session: _Progress(at) for session, at in start.items()}

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
            if arrival.predecessor > session.at.done:
                return
            del early[arrival.sequence]
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
