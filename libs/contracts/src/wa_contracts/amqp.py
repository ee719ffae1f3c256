"""Declaring the topology in RabbitMQ, the same way in every process."""

import asyncio
from typing import Any

from aio_pika.abc import AbstractConnection

from wa_contracts.topology import EXCHANGES, QUEUES

HEARTBEAT_SECONDS = 10
_DECLARATIONS_AT_ONCE = 16


async def declare_topology(connection: AbstractConnection) -> None:
    """Declare every exchange, queue and binding. Repeating it changes nothing.

    Raises:
        aio_pika.exceptions.ChannelPreconditionFailed: one exists with other arguments.
        aio_pika.exceptions.AMQPError: the broker goes away, or has not started all of its queues.
    """
    async with connection.channel() as channel:
        exchanges = {
            e.name: await channel.declare_exchange(e.name, e.type, durable=True) for e in EXCHANGES
        }
        gate = asyncio.Semaphore(_DECLARATIONS_AT_ONCE)

        async def declare(name: str, arguments: Any, bindings: Any) -> None:
            async with gate:
                queue = await channel.declare_queue(name, durable=True, arguments=arguments)
                for exchange, key in bindings:
                    await queue.bind(exchanges[exchange], key)

        # The first failure is the reason of all others: it closed the channel.
        await asyncio.gather(*(declare(q.name, q.arguments, q.bindings) for q in QUEUES))
