"""Reads a message from an event queue: one event, a bundle of events, or a marker."""

from collections.abc import Sequence
from typing import NamedTuple
from uuid import UUID

from wa_api.projecting.order import Arrival
from wa_contracts.codec import Undecodable, decode_bundle, decode_event, read_event_json
from wa_contracts.internal.bundle import BUNDLE, BundledEvent
from wa_contracts.internal.replay import PARTITION_REPLAYED
from wa_contracts.newest_events import newest_events
from wa_contracts.wire import BIGGEST
from wa_runtime.deliveries import Delivery

FENCE = "rebuild.fence"
"""AMQP type of a rebuild's fence. When a fence arrives, everything queued before it is written."""
_MARKERS = {FENCE, PARTITION_REPLAYED}


class EventMessage(NamedTuple):
    """A decoded message. `fault` is an error in it or in one of its events."""

    message: Delivery
    arrivals: Sequence[Arrival] = ()
    fault: str | None = None
    traces: Sequence[str | None] = ()

    @property
    def is_marker(self) -> bool:
        """True for a fence and for the end of a partition's replay."""
        return self.message.type in _MARKERS


def read_message(message: Delivery) -> EventMessage:
    """Decode a message. An undecodable event keeps its place in its session's order."""
    if message.type in _MARKERS:
        return EventMessage(message)
    if message.type != BUNDLE:
        return _single(message)
    try:
        bundled = decode_bundle(message.body)
    except Undecodable as error:
        return EventMessage(message, fault=str(error))
    events = newest_events([one.json for one in bundled])
    if events is None:
        return _decode_one_by_one(message, bundled)
    arrivals = [
        Arrival(event.session_id, event.session_sequence, one.predecessor, event, one.json)
        for one, event in zip(bundled, events, strict=True)
    ]
    return EventMessage(message, arrivals, traces=[one.traceparent for one in bundled])


def _single(message: Delivery) -> EventMessage:
    try:
        event = decode_event(message.body)
    except Undecodable as error:
        return EventMessage(
            message, _place_of(message.body, None), str(error), [message.traceparent]
        )
    return EventMessage(message, [Arrival.of(event)], traces=[message.traceparent])


def _decode_one_by_one(message: Delivery, bundled: Sequence[BundledEvent]) -> EventMessage:
    """Decode event by event, so that one bad event does not affect the others."""
    arrivals: list[Arrival] = []
    fault = None
    for one in bundled:
        try:
            arrivals.append(Arrival.of(decode_event(one.json), one.predecessor))
        except Undecodable as error:
            fault = str(error)
            arrivals.extend(_place_of(one.json, one.predecessor))
    return EventMessage(message, arrivals, fault, [one.traceparent for one in bundled])


def _place_of(body: bytes | str, predecessor: int | None) -> list[Arrival]:
    """Return the session and sequence of an undecodable event, if they are readable."""
    try:
        raw = read_event_json(body)
        session_id, sequence = UUID(raw["sessionId"]), raw["sessionSequence"]
    except (ValueError, TypeError, KeyError, AttributeError):
        return []
    if type(sequence) is not int or not 0 < sequence <= BIGGEST:
        return []
    before = sequence - 1 if predecessor is None else predecessor
    return [Arrival(session_id, sequence, before, None)]
