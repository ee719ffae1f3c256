"""A budget that refills by the minute."""


class Allowance:
    """At most `per_minute` units a minute, `burst` at once. Times are monotonic, in seconds."""

    def __init__(self, per_minute: float, burst: float) -> None:
        self._per_second = per_minute / 60
        self._burst = burst
        self._left = burst
        self._seen_at: float | None = None

    def take(self, units: int, now: float) -> float:
        """Take all units and return 0.0, or take none and return the seconds until all are there.

        More units than `burst` count as `burst`.
        """
        since = 0.0 if self._seen_at is None else now - self._seen_at
        self._left, self._seen_at = min(self._burst, self._left + since * self._per_second), now
        wanted = min(units, self._burst)
        if self._left >= wanted:
            self._left -= wanted
            return 0.0
        return (wanted - self._left) / self._per_second
