"""Bundles: several events in one message, for the projector and for rebuilds."""

from dataclasses import dataclass
from typing import Any

BUNDLE = "events.bundle"
"""AMQP type of a bundle."""


@dataclass(frozen=True)
class BundledEvent:
    """An event of a bundle, not decoded yet.

    `predecessor` is the sequence of the session's public event before it in the store, 0 for none.
    Retention removes events, so that in a replay it may be less than the event's sequence - 1; what
    is between them will never come again. `raw` is the envelope as read from JSON, `traceparent`
    the trace that the event belongs to, if there is one.
    """

    predecessor: int
    raw: Any
    traceparent: str | None = None
