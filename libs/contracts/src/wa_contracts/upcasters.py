"""Old versions of events, made new on reading.

A published event never changes. A new shape gets a new version and one upcaster here, from the
version before it: `(type, old version) -> function on the data as read from JSON`.
"""

from collections.abc import Callable, Mapping
from typing import Any

Upcaster = Callable[[dict[str, Any]], dict[str, Any]]

UPCASTERS: Mapping[tuple[str, int], Upcaster] = {}


def upcast(
    event_type: str,
    version: int,
    data: dict[str, Any],
    *,
    to_version: int,
    upcasters: Mapping[tuple[str, int], Upcaster] = UPCASTERS,
) -> dict[str, Any]:
    """The data in the shape of `to_version`.

    Raises:
        KeyError: no upcaster leads there, or the event is newer than this program.
    """
    while version != to_version:
        data = upcasters[event_type, version](data)
        version += 1
    return data
