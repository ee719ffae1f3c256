"""Declares the topology in RabbitMQ, identically in every process."""

import asyncio
from typing import Any

from aio_pika.abc import AbstractConnection
from aiormq.exceptions import ChannelAccessRefused

from wa_contracts.topology import EXCHANGES, QUEUES

HEARTBEAT_SECONDS = 10
_DECLARATIONS_AT_ONCE = 16


async def declare_topology(connection: AbstractConnection) -> None:
    """Declare every exchange, queue and binding. Idempotent.

    A user without permission to declare checks that all exist: `python -m wa_api set-up-broker`
    made them.

    Raises:
        aio_pika.exceptions.ChannelPreconditionFailed: one exists with other arguments.
        aio_pika.exceptions.ChannelNotFoundEntity: one is missing, and this user may not declare it.
        aio_pika.exceptions.AMQPError: the broker is unavailable, or some queues are not started.
    """
    try:
        await _declare_all(connection)
    except ChannelAccessRefused:
        await _find_all(connection)


async def _declare_all(connection: AbstractConnection) -> None:
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

        # gather raises the first failure, the cause of all others: it closed the channel.
        await asyncio.gather(*(declare(q.name, q.arguments, q.bindings) for q in QUEUES))


async def _find_all(connection: AbstractConnection) -> None:
    async with connection.channel() as channel:
        for exchange in EXCHANGES:
            await channel.declare_exchange(exchange.name, exchange.type, passive=True)
        gate = asyncio.Semaphore(_DECLARATIONS_AT_ONCE)

        async def find(name: str) -> None:
            async with gate:
                await channel.declare_queue(name, passive=True)

        await asyncio.gather(*(find(queue.name) for queue in QUEUES))
