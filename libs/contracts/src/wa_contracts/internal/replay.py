"""Replays: stored events once more, in bundles, on the way to one queue."""

from wa_contracts.ids import CommandId
from wa_contracts.wire import Wire

PARTITION_REPLAYED = "partition.replayed"
"""AMQP type of a `PartitionReplayed`."""


class PartitionReplayed(Wire):
    """Behind the last bundle: all that was stored when the replay came to it is in the queue."""

    command_id: CommandId
    partition: int
