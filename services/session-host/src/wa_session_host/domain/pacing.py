"""How fast a session may send: so many a minute with jitter, so many a day. Off unless it is asked for.

A session that sends like a machine is restricted or banned. What must wait waits in the queue, in
order, and may expire there.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from wa_contracts.ids import SessionId
from wa_contracts.internal.heartbeat import SessionPace

SHORTEST, LONGEST = 0.5, 1.5
"""Of the even distance between two sends."""


@dataclass(frozen=True)
class PaceRule:
    """None: without that limit. Days are those of UTC."""

    per_minute: float | None = None
    per_day: int | None = None

    @property
    def is_on(self) -> bool:
        """Whether there is any limit."""
        return self.per_minute is not None or self.per_day is not None


@dataclass(frozen=True)
class SendHistory:
    """What the store knows of a session's sends today, and of its last one."""

    today: int
    last_at: datetime | None


class Pace:
    """One session's sends, and when the next one is due."""

    def __init__(
        self,
        rule: PaceRule,
        before: SendHistory,
        *,
        clock: Callable[[], datetime],
        jitter: Callable[[float, float], float],
    ) -> None:
        """`jitter` draws a number between two, as `random.uniform`."""
        self._rule = rule
        self._clock = clock
        self._jitter = jitter
        self._day = clock().date()
        self._today = before.today
        self._next_at = self._after(before.last_at) if before.last_at is not None else None

    def count(self) -> None:
        """A send has ended that may have reached WhatsApp."""
        now = self._clock()
        self._turn_the_day(now)
        self._today += 1
        self._next_at = self._after(now)

    def due_at(self) -> datetime | None:
        """When the next send may begin; None if it may now."""
        if not self._rule.is_on:
            return None
        now = self._clock()
        self._turn_the_day(now)
        waits = [self._next_at] if self._next_at is not None else []
        if self._rule.per_day is not None and self._today >= self._rule.per_day:
            midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
            waits.append(midnight + timedelta(days=1))
        due = max(waits, default=now)
        return due if due > now else None

    def seconds_left(self) -> float:
        """Until the next send may begin."""
        due = self.due_at()
        return 0.0 if due is None else (due - self._clock()).total_seconds()

    def shown(self, session_id: SessionId) -> SessionPace | None:
        """As users see it; None if there is no limit."""
        if not self._rule.is_on:
            return None
        return SessionPace(
            session_id=session_id,
            next_send_at=self.due_at(),
            sent_today=self._today,
            per_minute=self._rule.per_minute,
            per_day=self._rule.per_day,
        )

    def _after(self, at: datetime) -> datetime | None:
        if self._rule.per_minute is None:
            return None
        even = 60 / self._rule.per_minute
        return at + timedelta(seconds=even * self._jitter(SHORTEST, LONGEST))

    def _turn_the_day(self, now: datetime) -> None:
        if now.date() != self._day:
            self._day, self._today = now.date(), 0
