"""Names and patterns by which people choose events."""

from collections.abc import Iterable
from fnmatch import fnmatchcase

from wa_contracts.codec import EVENT_TYPES


class UnknownEvent(ValueError):
    """A name or pattern that means no event. The text says what there is."""


def events_meant(patterns: Iterable[str]) -> frozenset[str]:
    """The events that names such as `message.sent` and patterns such as `message.*` mean.

    Raises:
        UnknownEvent: one of them means none.
    """
    found: set[str] = set()
    for pattern in patterns:
        meant = {event for event in EVENT_TYPES if fnmatchcase(event, pattern)}
        if not meant:
            raise UnknownEvent(f"must be one of {', '.join(EVENT_TYPES)}")
        found |= meant
    return frozenset(found)
