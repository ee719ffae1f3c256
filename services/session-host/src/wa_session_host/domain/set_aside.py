"""How long a message that cannot go now waits for its next try."""

from datetime import timedelta

FIRST_PAUSES = {"reachout_timelock": timedelta(minutes=2)}
FIRST_PAUSE = timedelta(seconds=5)
LONGEST_PAUSE = timedelta(minutes=5)


def pause_after(code: str, tries: int) -> timedelta:
    """The pause after so many failed tries, of which the last failed with `code`."""
    first = FIRST_PAUSES.get(code, FIRST_PAUSE)
    return min(first * (1 << min(tries - 1, 16)), LONGEST_PAUSE)
