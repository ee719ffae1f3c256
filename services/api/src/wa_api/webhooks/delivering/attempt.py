"""What one attempt to deliver came to."""

from dataclasses import dataclass

GONE = 410


@dataclass(frozen=True)
class Attempt:
    """`error` is a sentence, or None if it succeeded."""

    status: int | None
    error: str | None
    seconds: float
    retry_after: float | None = None
    """What the server asked for, in seconds."""
