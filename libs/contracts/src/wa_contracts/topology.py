"""RabbitMQ's exchanges, queues, bindings and keys as data.

Every process declares everything that its permissions allow.

commands   wa.commands (direct)  p0…p63 → wa.commands.p0…p63, one per partition: sends, replays
                                 control.p… → wa.commands.control.p…, one per partition: orders
                                 create.p… → both, so that a session exists before its sends
events     wa.events (topic)     v1.<sessionId>.<event> → wa.events.log, consumers
bundles    wa.bundles (fanout)   the same events in bundles → wa.projector, running rebuilds
replies    wa.events             reply.<api instance> → an exclusive queue per api process
heartbeats wa.heartbeats (fanout) → an exclusive queue per api process
failures   wa.dead-letters (fanout) → wa.dead-letters
"""

from dataclasses import dataclass, field
from typing import Literal
from zlib import crc32

from wa_contracts import ids
from wa_contracts.call_events import CALL_EVENTS
from wa_contracts.ids import SessionId
from wa_contracts.message_events import MESSAGE_EVENTS
from wa_contracts.session_events import SESSION_EVENTS, QRIssued

PARTITIONS = ids.PARTITIONS
DELIVERY_LIMIT = 20
LOG_MAX_AGE = "7D"
LOG_MAX_BYTES = 2_000_000_000
"""Limits of the log by its policy, which has precedence over the queue's arguments."""

COMMANDS = "wa.commands"
EVENTS = "wa.events"
BUNDLES = "wa.bundles"
HEARTBEATS = "wa.heartbeats"
DEAD_LETTERS = "wa.dead-letters"
PROJECTOR = "wa.projector"
EVENT_LOG = "wa.events.log"

Argument = str | int | bool


@dataclass(frozen=True)
class Exchange:
    """A durable exchange."""

    name: str
    type: Literal["direct", "topic", "fanout"]


@dataclass(frozen=True)
class Queue:
    """A durable queue with its arguments and its bindings as (exchange, routing key)."""

    name: str
    arguments: dict[str, Argument]
    bindings: tuple[tuple[str, str], ...] = field(default=())


@dataclass(frozen=True)
class Policy:
    """Limits of the queues whose names match `pattern`. An upgrade may change them."""

    name: str
    pattern: str
    definition: dict[str, Argument]


def partition_of(session_id: SessionId) -> int:
    """The partition of a session. Never changes."""
    return crc32(session_id.bytes) % PARTITIONS


def command_key(partition: int) -> str:
    """Routing key of a partition's sends and replays on `wa.commands`."""
    return f"p{partition}"


def command_queue(partition: int) -> str:
    return f"{COMMANDS}.p{partition}"


def control_key(partition: int) -> str:
    """Routing key of a partition's control commands, which wait behind no send."""
    return f"control.p{partition}"


def control_queue(partition: int) -> str:
    return f"{COMMANDS}.control.p{partition}"


def create_key(partition: int) -> str:
    """Routing key that reaches both queues of a partition."""
    return f"create.p{partition}"


def event_key(session_id: SessionId, event_type: str) -> str:
    """Routing key of an event on `wa.events`: `v1.<sessionId>.<event>`."""
    return f"v1.{session_id}.{event_type}"


def reply_key(instance: str) -> str:
    """Routing key of replies to one api process on `wa.events`."""
    return f"reply.{instance}"


EXCHANGES = (
    Exchange(COMMANDS, "direct"),
    Exchange(EVENTS, "topic"),
    Exchange(BUNDLES, "fanout"),
    Exchange(HEARTBEATS, "fanout"),
    Exchange(DEAD_LETTERS, "fanout"),
)

_DEAD_LETTERING: dict[str, Argument] = {
    "x-queue-type": "quorum",
    "x-delivery-limit": DELIVERY_LIMIT,
    "x-dead-letter-exchange": DEAD_LETTERS,
    "x-dead-letter-strategy": "at-least-once",
    "x-overflow": "reject-publish",
    "x-single-active-consumer": True,
}

# A queue's arguments never change: the broker refuses a declaration with others (docs/adr/0021).
QUEUES = (
    *(
        Queue(
            command_queue(p),
            _DEAD_LETTERING,
            ((COMMANDS, command_key(p)), (COMMANDS, create_key(p))),
        )
        for p in range(PARTITIONS)
    ),
    *(
        Queue(
            control_queue(p),
            _DEAD_LETTERING,
            ((COMMANDS, control_key(p)), (COMMANDS, create_key(p))),
        )
        for p in range(PARTITIONS)
    ),
    Queue(PROJECTOR, _DEAD_LETTERING, ((BUNDLES, ""),)),
    Queue(
        EVENT_LOG,
        {"x-queue-type": "stream", "x-max-age": "7D", "x-max-length-bytes": 2_000_000_000},
        # Not QR codes: the relay publishes a copy without the code to the log itself.
        tuple(
            (EVENTS, f"v1.*.{event.TYPE}")
            for event in (*SESSION_EVENTS, *MESSAGE_EVENTS, *CALL_EVENTS)
            if event is not QRIssued
        ),
    ),
    Queue(DEAD_LETTERS, {"x-queue-type": "quorum"}, ((DEAD_LETTERS, ""),)),
)

POLICIES = (
    Policy(
        "wa-event-log",
        r"^wa\.events\.log$",
        {"max-age": LOG_MAX_AGE, "max-length-bytes": LOG_MAX_BYTES},
    ),
)
