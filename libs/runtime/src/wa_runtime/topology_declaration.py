"""Declares the topology in RabbitMQ, identically in every process."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from itertools import groupby
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
    """Look for everything that this user has some permission for.

    RabbitMQ 4.3 and later refuse a look at what others use. A refusal closes the channel, so queues
    that differ by their number only are skipped with the first of them.
    """
    for exchange in EXCHANGES:
        with suppress(ChannelAccessRefused):
            async with connection.channel() as channel:
                await channel.declare_exchange(exchange.name, exchange.type, passive=True)
    for _, queues in groupby(QUEUES, lambda queue: queue.name.rstrip("0123456789")):
        with suppress(ChannelAccessRefused):
            await _find(connection, [queue.name for queue in queues])


async def _find(connection: AbstractConnection, queues: Sequence[str]) -> None:
    async with connection.channel() as channel:
        first, *others = queues
        await channel.declare_queue(first, passive=True)
        gate = asyncio.Semaphore(_DECLARATIONS_AT_ONCE)

        async def find(name: str) -> None:
            async with gate:
                await channel.declare_queue(name, passive=True)

        await asyncio.gather(*map(find, others))
