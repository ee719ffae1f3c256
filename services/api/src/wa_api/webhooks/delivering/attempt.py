"""Result of one delivery attempt."""

from dataclasses import dataclass

GONE = 410


@dataclass(frozen=True)
class Attempt:
    """`error` is a sentence, or None after a success."""

    status: int | None
    error: str | None
    seconds: float
    retry_after: float | None = None
    """The server's Retry-After, in seconds."""
