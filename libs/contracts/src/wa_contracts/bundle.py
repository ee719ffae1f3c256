"""Bundles: several events in one message, for the projector and for rebuilds."""

from dataclasses import dataclass
from typing import Annotated, Generic, TypeVar

from pydantic import Field

from wa_contracts.wire import BIGGEST

BUNDLE = "events.bundle"
"""AMQP type of a bundle."""
BUNDLE_EVENTS = 200
BUNDLE_BYTES = 128 * 1024
"""Whoever makes bundles ends one at so many events, or with the event that makes it so large."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class BundledEvent(Generic[T]):
    """An event of a bundle: its envelope, or what was read from JSON to become one.

    `predecessor` is the sequence of the session's public event before it in the store, 0 for none.
    Retention removes events, so that in a replay it may be less than the event's sequence - 1; what
    is between them will never come again. `traceparent` is the trace that the event belongs to, if
    there is one.
    """

    predecessor: Annotated[int, Field(strict=True, ge=0, le=BIGGEST)]
    event: T
    traceparent: str | None = None


@dataclass(frozen=True, slots=True)
class Bundle(Generic[T]):
    """What is in the message."""

    events: list[BundledEvent[T]]
