"""Token buckets: so many a minute for each key, with bursts."""

import math
from collections.abc import Callable, Hashable
from dataclasses import dataclass

_FORGET_ABOVE = 10_000
REFUSALS_PER_SECOND = 50
HELD_BACK_SECONDS = 0.5
"""Who is refused has to wait anyway; meanwhile the others are served."""


@dataclass
class _Bucket:
    left: float
    seen_at: float
    refused_until: float = 0.0


class RateLimit:
    """At most `per_minute` takes a minute for each key, `burst` of them at once.

    `clock` is monotonic, in seconds.
    """

    def __init__(
        self, per_minute: int, clock: Callable[[], float], *, burst: int | None = None
    ) -> None:
        self._capacity = float(burst or per_minute)
        self._per_second = per_minute / 60
        self._clock = clock
        self._buckets: dict[Hashable, _Bucket] = {}

    def take(self, key: Hashable) -> int:
        """0 if it may go on; otherwise the whole seconds after which it is worth trying again."""
        bucket = self._filled(key)
        if bucket.left >= 1:
            bucket.left -= 1
            return 0
        return self._seconds_until_one(bucket)

    def wait_for(self, key: Hashable) -> int:
        """As `take`, without taking, and without remembering a key that never took."""
        if key not in self._buckets:
            return 0
        bucket = self._filled(key)
        return 0 if bucket.left >= 1 else self._seconds_until_one(bucket)

    def hold_back(self, key: Hashable) -> float:
        """The seconds to hold a refusal back, so that a key gets so many a second at most."""
        bucket, now = self._filled(key), self._clock()
        after_the_last = bucket.refused_until + 1 / REFUSALS_PER_SECOND
        bucket.refused_until = max(after_the_last, now + HELD_BACK_SECONDS)
        return bucket.refused_until - now

    def _seconds_until_one(self, bucket: _Bucket) -> int:
        return max(1, math.ceil((1 - bucket.left) / self._per_second))

    def _filled(self, key: Hashable) -> _Bucket:
        now = self._clock()
        bucket = self._buckets.get(key)
        if bucket is None:
            self._forget_full_ones(now)
            bucket = self._buckets[key] = _Bucket(self._capacity, now)
        gained = (now - bucket.seen_at) * self._per_second
        bucket.left = min(self._capacity, bucket.left + gained)
        bucket.seen_at = now
        return bucket

    def _forget_full_ones(self, now: float) -> None:
        if len(self._buckets) > _FORGET_ABOVE:
            self._buckets = {k: b for k, b in self._buckets.items() if now - b.seen_at < 60}
