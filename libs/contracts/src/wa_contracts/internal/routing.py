"""The routing key of a command on `wa.commands`."""

from wa_contracts.internal.commands import (
    Command,
    CreateSession,
    FailMessage,
    ReplayPartition,
    ReplaySession,
    SendMessage,
    SessionCommand,
)
from wa_contracts.topology import command_key, control_key, create_key, partition_of


def routing_key(command: Command) -> str:
    """The key that reaches the owner of the command's session or partition.

    Sends and replays share a queue. Whatever a person waits for has a queue of its own and waits
    behind no send. `CreateSession` goes to both: it precedes its session's sends in their queue,
    and is prompt in the other. The owner handles the first one.
    """
    match command:
        case ReplayPartition(partition=partition):
            return command_key(partition)
        case SendMessage() | FailMessage() | ReplaySession():
            return command_key(partition_of(command.session_id))
        case CreateSession():
            return create_key(partition_of(command.session_id))
        case SessionCommand():
            return control_key(partition_of(command.session_id))
        case _:
            raise TypeError(f"{type(command).__name__} is addressed to nobody")
