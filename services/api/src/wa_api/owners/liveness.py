"""Partitions and hosts with recent heartbeats, by this process's own clock."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from wa_contracts.internal.heartbeat import Heartbeat, HostEngine, SessionPace, WaitingMessage


@dataclass(frozen=True)
class _LastSeen:
    host: str
    good_until: float


class HostLiveness:
    """Tracks live partitions from heartbeats.

    `clock` is monotonic, in seconds. Clocks of other machines are never compared.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._last_seen: dict[int, _LastSeen] = {}
        self._paces: dict[str, Mapping[UUID, SessionPace]] = {}
        self._waiting: dict[str, Mapping[UUID, WaitingMessage]] = {}
        self._engines: dict[str, HostEngine] = {}

    def record(self, heartbeat: Heartbeat) -> None:
        """Record a heartbeat. A leaving host loses its partitions at once."""
        if heartbeat.leaving:
            self._last_seen = {p: s for p, s in self._last_seen.items() if s.host != heartbeat.host}
            return
        self._paces[heartbeat.host] = {pace.session_id: pace for pace in heartbeat.paces}
        self._waiting[heartbeat.host] = {one.id: one for one in heartbeat.waiting}
        if heartbeat.engine is not None:
            self._engines[heartbeat.host] = heartbeat.engine
        last_seen = _LastSeen(heartbeat.host, self._clock() + heartbeat.good_for_seconds)
        self._last_seen.update(dict.fromkeys(heartbeat.partitions, last_seen))

    def live_partitions(self) -> list[int]:
        """Partitions named by a heartbeat that has not expired."""
        now = self._clock()
        return [p for p, last_seen in self._last_seen.items() if last_seen.good_until >= now]

    def pace_of(self, session_id: UUID) -> SessionPace | None:
        """The session's pacing as reported by a live host; None if sends are not limited."""
        live = self.hosts()
        self._paces = {host: paces for host, paces in self._paces.items() if host in live}
        found = (paces.get(session_id) for paces in self._paces.values())
        return next((pace for pace in found if pace is not None), None)

    def waiting_of(self, message_id: UUID) -> WaitingMessage | None:
        """Why a queued message waits, as reported by a live host; None if nobody says so."""
        live = self.hosts()
        self._waiting = {host: ones for host, ones in self._waiting.items() if host in live}
        found = (ones.get(message_id) for ones in self._waiting.values())
        return next((one for one in found if one is not None), None)

    def engines(self) -> Mapping[HostEngine, int]:
        """The engines of live hosts, each with the number of hosts that have it."""
        live = self.hosts()
        self._engines = {host: engine for host, engine in self._engines.items() if host in live}
        return Counter(self._engines.values())

    def live_hosts(self) -> int:
        return len(self.hosts())

    def hosts(self) -> Mapping[str, Sequence[int]]:
        """Live hosts, with the partitions that each last named."""
        found: dict[str, list[int]] = {}
        for partition in self.live_partitions():
            found.setdefault(self._last_seen[partition].host, []).append(partition)
        return found
