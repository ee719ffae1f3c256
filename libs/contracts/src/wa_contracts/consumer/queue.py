"""The queues of a consumer, bounded so that an absent consumer cannot fill the broker."""

import logging
from uuid import uuid4

from aio_pika import ExchangeType
from aio_pika.abc import AbstractConnection, FieldValue
from aiormq.exceptions import ChannelPreconditionFailed

from wa_contracts.consumer.connection import SubscriptionRefused
from wa_contracts.topology import DELIVERY_LIMIT

QUEUE_EXPIRES_SECONDS = 7 * 24 * 3600
QUEUE_MAX_LENGTH = 1_000_000
QUEUE_MAX_BYTES = 1_000_000_000
"""Limits of a consumer's queue. Above them the broker drops the oldest events."""
DEAD_LETTERS_MAX_LENGTH = 10_000
DEAD_LETTERS_MAX_BYTES = 100_000_000
DEAD_LETTERS_SECONDS = 30 * 24 * 3600

EARLIER_QUEUE = (
    "queue %s is of an earlier version of this library: several consumers share it, and after a"
    " lost connection events may come out of order. docs/events.md says how to replace it."
)

log = logging.getLogger(__name__)


async def declare_temporary(connection: AbstractConnection, user: str) -> str:
    """Declare a queue that ends with its connection, and return its name."""
    name = f"{user}.{uuid4()}"  # not the broker's own, which docs/events.md grants nobody
    channel = await connection.channel()
    await channel.declare_queue(name, exclusive=True)
    await channel.close()
    return name


async def declare_durable(connection: AbstractConnection, name: str, *, shared: bool) -> None:
    """Declare the consumer's queue, which expires after a week without consumers.

    Its dead letters have an exchange and a queue within the same prefix. A queue of an earlier
    version of the library is used as it is.

    Raises:
        SubscriptionRefused: The queue exists with other arguments.
    """
    dead = f"{name}.dead-letters"
    bounds: dict[str, FieldValue] = {
        "x-queue-type": "quorum",
        "x-delivery-limit": DELIVERY_LIMIT,
        "x-max-length": QUEUE_MAX_LENGTH,
        "x-max-length-bytes": QUEUE_MAX_BYTES,
        "x-expires": QUEUE_EXPIRES_SECONDS * 1000,
    }
    arguments = bounds | {"x-dead-letter-exchange": dead}
    if not shared:
        arguments["x-single-active-consumer"] = True
    earlier = bounds | {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": dead}
    try:
        await _declare_dead_letters(connection, dead)
        try:
            await _declare(connection, name, arguments)
        except ChannelPreconditionFailed:
            if not await _has(connection, name, earlier):
                raise
            if not shared:
                log.warning(EARLIER_QUEUE, name)
    except ChannelPreconditionFailed as error:
        raise SubscriptionRefused(
            f"The queue {name!r}, or its dead letters, exist with other arguments: {error}."
            " Subscribe with another `queue`, with the same `shared` as before, or delete what"
            " differs once it is empty."
        ) from error


async def _declare_dead_letters(connection: AbstractConnection, name: str) -> None:
    channel = await connection.channel()
    exchange = await channel.declare_exchange(name, ExchangeType.FANOUT, durable=True)
    letters = await channel.declare_queue(
        name,
        durable=True,
        arguments={
            "x-queue-type": "quorum",
            "x-max-length": DEAD_LETTERS_MAX_LENGTH,
            "x-max-length-bytes": DEAD_LETTERS_MAX_BYTES,
            "x-message-ttl": DEAD_LETTERS_SECONDS * 1000,
        },
    )
    await letters.bind(exchange)
    await channel.close()


async def _declare(
    connection: AbstractConnection, name: str, arguments: dict[str, FieldValue]
) -> None:
    """Declare on a channel of its own, which the broker closes at a refusal."""
    channel = await connection.channel()
    await channel.declare_queue(name, durable=True, arguments=arguments)
    await channel.close()


async def _has(connection: AbstractConnection, name: str, arguments: dict[str, FieldValue]) -> bool:
    """Whether the queue, which exists, has these arguments."""
    try:
        await _declare(connection, name, arguments)
    except ChannelPreconditionFailed:
        return False
    return True


def past_mark(name: str) -> str:
    """Name of the empty marker queue that exists while the past is not fully read."""
    return f"{name}.past"


async def mark_past_unread(connection: AbstractConnection, name: str) -> None:
    """Declare the marker queue."""
    await _declare(connection, past_mark(name), {"x-expires": QUEUE_EXPIRES_SECONDS * 1000})
