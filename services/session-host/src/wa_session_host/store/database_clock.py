"""The time that all hosts agree on: the database's, kept by each machine's monotonic clock."""

import time
from datetime import UTC, datetime, timedelta


class DatabaseClock:
    """The database's time, carried on from the last time it was asked.

    Expiry and `occurred_at` must not depend on which host a session is on. A machine's own clock
    may be off by minutes; its monotonic clock is right over the seconds between two renewals.
    """

    def __init__(self) -> None:
        """Until the database was asked, the machine's own time."""
        self._set_at = time.monotonic()
        self._time = datetime.now(UTC)

    def __call__(self) -> datetime:
        """Now, in UTC."""
        return self._time + timedelta(seconds=time.monotonic() - self._set_at)

    def set(self, database_time: datetime, *, asked_at: float, answered_at: float) -> None:
        """Take over the database's time, told between those two monotonic times."""
        self._time = database_time
        self._set_at = (asked_at + answered_at) / 2
