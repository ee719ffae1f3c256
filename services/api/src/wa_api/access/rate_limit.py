"""Token buckets: a rate per minute and a burst for each key."""

import math
from collections.abc import Callable, Hashable
from dataclasses import dataclass

_FORGET_ABOVE = 10_000
REFUSALS_PER_SECOND = 50
REFUSAL_DELAY_SECONDS = 0.5
"""Delay of a refusal: the client has to wait anyway, and others are served meanwhile."""


@dataclass
class _Bucket:
    left: float
    seen_at: float
    refused_until: float = 0.0


class RateLimit:
    """At most `per_minute` acquisitions a minute for each key, `burst` at once.

    `clock` is monotonic, in seconds.
    """

    def __init__(
        self, per_minute: int, clock: Callable[[], float], *, burst: int | None = None
    ) -> None:
        self._capacity = float(burst or per_minute)
        self._per_second = per_minute / 60
        self._clock = clock
        self._buckets: dict[Hashable, _Bucket] = {}

    def acquire(self, key: Hashable) -> int:
        """Return 0 if allowed, otherwise the whole seconds to wait."""
        bucket = self._refilled(key)
        if bucket.left >= 1:
            bucket.left -= 1
            return 0
        return self._seconds_until_one(bucket)

    def wait_for(self, key: Hashable) -> int:
        """Like `acquire`, but acquires nothing and creates no bucket."""
        if key not in self._buckets:
            return 0
        bucket = self._refilled(key)
        return 0 if bucket.left >= 1 else self._seconds_until_one(bucket)

    def refusal_delay(self, key: Hashable) -> float:
        """Seconds to delay a refusal, so that each key receives at most 50 refusals a second."""
        bucket, now = self._refilled(key), self._clock()
        after_the_last = bucket.refused_until + 1 / REFUSALS_PER_SECOND
        bucket.refused_until = max(after_the_last, now + REFUSAL_DELAY_SECONDS)
        return bucket.refused_until - now

    def _seconds_until_one(self, bucket: _Bucket) -> int:
        return max(1, math.ceil((1 - bucket.left) / self._per_second))

    def _refilled(self, key: Hashable) -> _Bucket:
        now = self._clock()
        bucket = self._buckets.get(key)
        if bucket is None:
            self._drop_full_ones(now)
            bucket = self._buckets[key] = _Bucket(self._capacity, now)
        gained = (now - bucket.seen_at) * self._per_second
        bucket.left = min(self._capacity, bucket.left + gained)
        bucket.seen_at = now
        return bucket

    def _drop_full_ones(self, now: float) -> None:
        if len(self._buckets) > _FORGET_ABOVE:
            self._buckets = {k: b for k, b in self._buckets.items() if now - b.seen_at < 60}
