"""Places in a session's queue for messages that are being stored."""

from collections.abc import Iterator
from contextlib import contextmanager


class Reservations:
    """The places taken now, and the bytes of their content."""

    def __init__(self) -> None:
        self.places = 0
        self.content_bytes = 0
        self.has_idle = False
        """Whether one was taken while the session was idle."""

    @contextmanager
    def take(self, content_bytes: int, *, is_idle: bool) -> Iterator[None]:
        """Take a place inside the block."""
        self.places += 1
        self.content_bytes += content_bytes
        self.has_idle = self.has_idle or is_idle
        try:
            yield
        finally:
            self.places -= 1
            self.content_bytes -= content_bytes
            self.has_idle = self.has_idle and not is_idle
