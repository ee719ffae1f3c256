"""Rate limits of a session's sends: per minute with jitter, and per day. Off by default.

WhatsApp restricts or bans sessions that send like a machine. Limited messages wait in the queue, in
order, and may expire there.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from wa_contracts.ids import SessionId
from wa_contracts.internal.heartbeat import SessionPace
from wa_contracts.session_options import PacingLimits

SHORTEST, LONGEST = 0.5, 1.5
"""Jitter, as factors of the mean interval."""


@dataclass(frozen=True)
class PaceRule:
    """None means no limit. Days are UTC."""

    per_minute: float | None = None
    per_day: int | None = None

    @property
    def is_on(self) -> bool:
        return self.per_minute is not None or self.per_day is not None

    def for_session(self, own: PacingLimits | None) -> "PaceRule":
        """The session's own limits; those of the installation without any."""
        return self if own is None else PaceRule(own.per_minute, own.per_day)


@dataclass(frozen=True)
class SendHistory:
    """A session's sends today, and its last one, from the store."""

    today: int
    last_at: datetime | None


class Pace:
    """The sends of one session, and the time of the next one."""

    def __init__(
        self,
        rule: PaceRule,
        before: SendHistory,
        *,
        clock: Callable[[], datetime],
        jitter: Callable[[float, float], float],
    ) -> None:
        """`jitter` draws a number between two bounds, as `random.uniform`."""
        self._rule = rule
        self._clock = clock
        self._jitter = jitter
        self._day = clock().date()
        self._today = before.today
        self._next_at = self._after(before.last_at) if before.last_at is not None else None

    def set_rule(self, rule: PaceRule) -> None:
        """Limit by another rule from the next send on."""
        if rule != self._rule:
            self._rule = rule
            self._next_at = None

    def count_send(self) -> None:
        """Count a send that may have reached WhatsApp."""
        now = self._clock()
        self._reset_on_new_day(now)
        self._today += 1
        self._next_at = self._after(now)

    def due_at(self) -> datetime | None:
        """Time of the next send; None if a send may start now."""
        if not self._rule.is_on:
            return None
        now = self._clock()
        self._reset_on_new_day(now)
        waits = [self._next_at] if self._next_at is not None else []
        if self._rule.per_day is not None and self._today >= self._rule.per_day:
            midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
            waits.append(midnight + timedelta(days=1))
        due = max(waits, default=now)
        return due if due > now else None

    def seconds_left(self) -> float:
        """Seconds until the next send may start."""
        due = self.due_at()
        return 0.0 if due is None else (due - self._clock()).total_seconds()

    def to_contract(self, session_id: SessionId) -> SessionPace | None:
        """The pace in the contract's form; None without a limit."""
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

    def _reset_on_new_day(self, now: datetime) -> None:
        if now.date() != self._day:
            self._day, self._today = now.date(), 0
