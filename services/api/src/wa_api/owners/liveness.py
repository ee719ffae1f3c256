"""Which partitions have shown a sign of life lately, by this process's own clock."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from wa_contracts.internal.heartbeat import Heartbeat, SessionPace


@dataclass(frozen=True)
class _Sign:
    host: str
    good_until: float


class HostLiveness:
    """Hears heartbeats and knows the partitions whose host lives.

    `clock` is monotonic, in seconds. Clocks of other machines are not compared.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._signs: dict[int, _Sign] = {}
        self._paces: dict[str, Mapping[UUID, SessionPace]] = {}

    def hear(self, heartbeat: Heartbeat) -> None:
        """Take a heartbeat in. A host that leaves is silent at once, where no other took over."""
        if heartbeat.leaving:
            self._signs = {p: s for p, s in self._signs.items() if s.host != heartbeat.host}
            return
        self._paces[heartbeat.host] = {pace.session_id: pace for pace in heartbeat.paces}
        sign = _Sign(heartbeat.host, self._clock() + heartbeat.good_for_seconds)
        self._signs.update(dict.fromkeys(heartbeat.partitions, sign))

    def live_partitions(self) -> list[int]:
        """The partitions named by a heartbeat that is still good."""
        now = self._clock()
        return [p for p, sign in self._signs.items() if sign.good_until >= now]

    def pace_of(self, session_id: UUID) -> SessionPace | None:
        """How fast a session may send, if a host that lives says that this is limited."""
        notifications = self.hosts()
        self._paces = {host: paces for host, paces in self._paces.items() if host in notifications}
        found = (paces.get(session_id) for paces in self._paces.values())
        return next((pace for pace in found if pace is not None), None)

    def live_hosts(self) -> int:
        """How many hosts those are."""
        notifications = set(self.live_partitions())
        return len({sign.host for p, sign in self._signs.items() if p in notifications})

    def hosts(self) -> Mapping[str, Sequence[int]]:
        """The hosts that live, with the partitions that each named last."""
        found: dict[str, list[int]] = {}
        for partition in self.live_partitions():
            found.setdefault(self._signs[partition].host, []).append(partition)
        return found
