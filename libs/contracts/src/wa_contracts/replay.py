"""Replays: stored events once more, in bundles, on the way to one queue."""

from dataclasses import dataclass
from typing import Any

from wa_contracts.ids import CommandId
from wa_contracts.wire import Wire

BUNDLE = "events.replayed"
"""AMQP type of a bundle of replayed events."""
PARTITION_REPLAYED = "partition.replayed"
"""AMQP type of a `PartitionReplayed`."""


@dataclass(frozen=True)
class ReplayedEvent:
    """A replayed event, not decoded yet.

    `predecessor` is the sequence of the session's public event before it in the store, 0 for none.
    Retention removes events, so that it may be less than the event's sequence - 1; what is between
    them will never come again. `raw` is the envelope as read from JSON.
    """

    predecessor: int
    raw: Any


class PartitionReplayed(Wire):
    """Behind the last bundle: all that was stored when the replay came to it is in the queue."""

    command_id: CommandId
    partition: int
