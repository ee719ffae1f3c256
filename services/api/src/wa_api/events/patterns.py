"""Event names and patterns such as `message.*`."""

from collections.abc import Iterable

from wa_contracts.codec import EVENT_TYPES

CHOICES = (
    *EVENT_TYPES,
    "*",
    *(f"{group}.*" for group in dict.fromkeys(one.partition(".")[0] for one in EVENT_TYPES)),
)
"""Event names and common patterns, for schemas."""
LONGEST = 64
"""Longest pattern, in characters. A longer one matches nothing."""


class UnknownEvent(ValueError):
    """A pattern that matches no event type. The text lists the types."""


def events_meant(patterns: Iterable[str]) -> frozenset[str]:
    """Expand names such as `message.sent` and patterns such as `message.*` to event types.

    Raises:
        UnknownEvent: A pattern matches no event type.
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
    """Match a pattern in which `*` stands for any text.

    `fnmatch` is not used, since it caches every pattern.
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
