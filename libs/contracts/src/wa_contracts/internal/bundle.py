"""Bundles: several events in one message, for the projector and for rebuilds.

The body has two lines of JSON per event: `[predecessor, traceparent]`, then the published event.
"""

from collections.abc import Iterable, Sequence
from typing import Annotated, NamedTuple

from pydantic import Field, TypeAdapter

from wa_contracts.wire import BIGGEST

BUNDLE = "events.bundle"
"""AMQP type of a bundle."""
BUNDLE_EVENTS = 200
BUNDLE_BYTES = 128 * 1024
"""A bundle ends at this number of events, or with the event that reaches this size."""


class BundledEvent(NamedTuple):
    """An undecoded event of a bundle.

    `predecessor` is the sequence of the session's previous public event in the store, 0 for none.
    In a replay it may be lower than `sequence - 1`: retention deleted the events in between.
    """

    predecessor: int
    traceparent: str | None
    json: str


_Sequence = Annotated[int, Field(strict=True, ge=0, le=BIGGEST)]
_PLACES: TypeAdapter[list[tuple[_Sequence, str | None]]] = TypeAdapter(
    list[tuple[_Sequence, str | None]]
)


def frame_bundle(events: Iterable[tuple[int, bytes, str | None]]) -> bytes:
    """Build a bundle from framed events, each with its predecessor's sequence and its trace."""
    return b"\n".join(
        b"[%d,null]\n%b" % (predecessor, event)
        if trace is None
        else b'[%d,"%b"]\n%b' % (predecessor, trace.encode(), event)
        for predecessor, event, trace in events
    )


def split_bundle(body: bytes) -> Sequence[BundledEvent]:
    """Split a bundle into undecoded events, so that one bad event does not affect the others.

    Raises:
        ValueError: The body is not a bundle.
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
    """Join JSON values to a JSON array."""
    return f"[{','.join(values)}]"
