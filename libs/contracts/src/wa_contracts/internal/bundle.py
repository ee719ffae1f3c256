"""Bundles: several events in one message, for the projector and for rebuilds.

Their bodies are lines of JSON, two for each event: `[predecessor, traceparent]`, then the event as it
was framed to be published.
"""

from collections.abc import Iterable, Sequence
from typing import Annotated, NamedTuple

from pydantic import Field, TypeAdapter

from wa_contracts.wire import BIGGEST

BUNDLE = "events.bundle"
"""AMQP type of a bundle."""
BUNDLE_EVENTS = 200
BUNDLE_BYTES = 128 * 1024
"""Whoever makes bundles ends one at so many events, or with the event that makes it so large."""


class BundledEvent(NamedTuple):
    """An event of a bundle: its JSON, unread.

    `predecessor` is the sequence of the session's public event before it in the store, 0 for none.
    Retention removes events, so that in a replay it may be less than the event's sequence - 1; what
    is between them will never come again. `traceparent` is the trace that the event belongs to, if
    there is one.
    """

    predecessor: int
    traceparent: str | None
    json: str


_Sequence = Annotated[int, Field(strict=True, ge=0, le=BIGGEST)]
_PLACES: TypeAdapter[list[tuple[_Sequence, str | None]]] = TypeAdapter(
    list[tuple[_Sequence, str | None]]
)


def frame_bundle(events: Iterable[tuple[int, bytes, str | None]]) -> bytes:
    """A bundle of events: each framed already, with its predecessor's sequence and its trace."""
    return b"\n".join(
        b"[%d,null]\n%b" % (predecessor, event)
        if trace is None
        else b'[%d,"%b"]\n%b' % (predecessor, trace.encode(), event)
        for predecessor, event, trace in events
    )


def split_bundle(body: bytes) -> Sequence[BundledEvent]:
    """The events of a bundle, each unread, so that one bad event spoils no other.

    Raises:
        ValueError: it is not a bundle.
    """
    if not body:
        raise ValueError("empty: nobody makes a bundle of nothing")
    lines = body.decode().split("\n")
    places, events = _PLACES.validate_json(joined(lines[::2])), lines[1::2]
    return [
        BundledEvent(predecessor, trace, event)
        for (predecessor, trace), event in zip(places, events, strict=True)
    ]


def joined(values: Iterable[str]) -> str:
    """A JSON array of values that are JSON already."""
    return f"[{','.join(values)}]"
