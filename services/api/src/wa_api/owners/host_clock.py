"""The hosts' time, by which commands expire."""

import time
from datetime import UTC, datetime, timedelta


class HostClock:
    """The time of the last heartbeat, which is the hosts' database's, carried on monotonically.

    A command's life is counted by its host. An api process whose wall clock is behind would issue
    commands that are expired on arrival.
    """

    def __init__(self) -> None:
        """This machine's wall clock until the first `set`."""
        self.set(datetime.now(UTC))

    def __call__(self) -> datetime:
        return self._time + timedelta(seconds=time.monotonic() - self._set_at)

    def set(self, host_time: datetime) -> None:
        """Set the hosts' time, as a heartbeat that has just arrived says it."""
        self._time, self._set_at = host_time, time.monotonic()
