"""No queries about numbers for a while after WhatsApp limited one (429)."""

import time
from collections.abc import Callable

from wa_session_host.engine.neonize.outgoing.send_errors import RATE_LIMITED
from wa_session_host.engine.port import NotNow

FIRST_SECONDS, LONGEST_SECONDS = 5.0, 300.0


class QueryPause:
    """Pauses that double with each limited query, until one is answered."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock` is monotonic, in seconds."""
        self._clock = clock
        self._seconds = 0.0
        self._ends_at = 0.0

    @property
    def is_on(self) -> bool:
        return self._clock() < self._ends_at

    def check(self) -> None:
        """Raises NotNow during a pause."""
        left = self._ends_at - self._clock()
        if left > 0:
            raise NotNow(
                RATE_LIMITED,
                "WhatsApp limits this number's queries about others, before first messages. The "
                f"next query goes in {left:.0f} s. Chats that were written to before go on.",
            )

    def limited(self) -> None:
        """WhatsApp limited a query."""
        self._seconds = min(self._seconds * 2 or FIRST_SECONDS, LONGEST_SECONDS)
        self._ends_at = self._clock() + self._seconds

    def answered(self) -> None:
        """WhatsApp answered a query."""
        self._seconds = 0.0
