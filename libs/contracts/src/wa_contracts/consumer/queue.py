"""The queues of a consumer, bounded so that an absent consumer cannot fill the broker."""

from collections.abc import Iterable

from aio_pika.abc import AbstractChannel, AbstractQueue

from wa_contracts.topology import DELIVERY_LIMIT, EVENTS

QUEUE_EXPIRES_SECONDS = 7 * 24 * 3600
QUEUE_MAX_LENGTH = 1_000_000
QUEUE_MAX_BYTES = 1_000_000_000
"""Limits of a consumer's queue. Above them the broker drops the oldest events."""
DEAD_LETTERS_MAX_LENGTH = 10_000
DEAD_LETTERS_MAX_BYTES = 100_000_000
DEAD_LETTERS_SECONDS = 30 * 24 * 3600


async def declare_queue(
    channel: AbstractChannel, name: str | None, keys: Iterable[str]
) -> AbstractQueue:
    """Declare the consumer's queue and its dead-letter queue, and bind the keys.

    The queue expires after a week without consumers; without a name, with its connection.
    """
    if name is None:
        queue = await channel.declare_queue(exclusive=True)
    else:
        queue = await _declare_durable(channel, name)
    for key in keys:
        await queue.bind(EVENTS, key)
    return queue


async def _declare_durable(channel: AbstractChannel, name: str) -> AbstractQueue:
    dead = f"{name}.dead-letters"
    await channel.declare_queue(
        dead,
        durable=True,
        arguments={
            "x-queue-type": "quorum",
            "x-max-length": DEAD_LETTERS_MAX_LENGTH,
            "x-max-length-bytes": DEAD_LETTERS_MAX_BYTES,
            "x-message-ttl": DEAD_LETTERS_SECONDS * 1000,
        },
    )
    return await channel.declare_queue(
        name,
        durable=True,
        arguments={
            "x-queue-type": "quorum",
            "x-delivery-limit": DELIVERY_LIMIT,
            "x-max-length": QUEUE_MAX_LENGTH,
            "x-max-length-bytes": QUEUE_MAX_BYTES,
            "x-expires": QUEUE_EXPIRES_SECONDS * 1000,
            "x-dead-letter-exchange": "",
            "x-dead-letter-routing-key": dead,
        },
    )


def past_mark(name: str) -> str:
    """Name of the empty marker queue that exists while the past is not fully read."""
    return f"{name}.past"


async def mark_past_unread(channel: AbstractChannel, name: str) -> None:
    """Declare the marker queue."""
    await channel.declare_queue(
        past_mark(name), durable=True, arguments={"x-expires": QUEUE_EXPIRES_SECONDS * 1000}
    )
