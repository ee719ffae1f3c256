"""Names and patterns by which people choose events."""

from collections.abc import Iterable

from wa_contracts.codec import EVENT_TYPES

CHOICES = (*EVENT_TYPES, "*", "session.*", "message.*")
"""Names and the usual patterns, for schemas."""
LONGEST = 64
"""Characters of a pattern; a longer one means nothing."""


class UnknownEvent(ValueError):
    """A name or pattern that means no event. The text says what there is."""


def events_meant(patterns: Iterable[str]) -> frozenset[str]:
    """The events that names such as `message.sent` and patterns such as `message.*` mean.

    Raises:
        UnknownEvent: one of them means none.
    """
    found: set[str] = set()
    for pattern in patterns:
        meant = {
            event for event in EVENT_TYPES if len(pattern) <= LONGEST and _means(pattern, event)
        }
        if not meant:
            raise UnknownEvent(f"must be one of {', '.join(EVENT_TYPES)}")
        found |= meant
    return frozenset(found)


def _means(pattern: str, event: str) -> bool:
    """Whether the pattern, in which `*` stands for anything, is this event's name.

    Not by `fnmatch`, which keeps every pattern that it ever saw.
    """
    first, *others = pattern.split("*")
    if not others:
        return pattern == event
    *inner, last = others
    if len(event) < len(first) + len(last) or not event.startswith(first):
        return False
    at, end = len(first), len(event) - len(last)
    for piece in inner:
        found = event.find(piece, at, end)
        if found < 0:
            return False
        at = found + len(piece)
    return event.endswith(last)
