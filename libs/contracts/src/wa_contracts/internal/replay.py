"""Replays: stored events published again, in bundles, to one queue."""

from wa_contracts.ids import CommandId
from wa_contracts.wire import Wire

PARTITION_REPLAYED = "partition.replayed"
"""AMQP type of a `PartitionReplayed`."""


class PartitionReplayed(Wire):
    """Published after the last bundle: every event stored before that point is in the queue."""

    command_id: CommandId
    partition: int
