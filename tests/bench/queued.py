"""Messages put into the broker's queues in advance, confirmed."""

import asyncio
from collections.abc import Iterable
from itertools import islice

import aio_pika

from wa_runtime.topology_declaration import declare_topology

CONFIRMS_AT_ONCE = 1000


async def publish(
    broker: str, exchange: str, messages: Iterable[tuple[str, bytes]], *, kind: str | None = None
) -> None:
    """Publish these, each with its routing key, in their order; `""` is the default exchange.

    `kind` is their AMQP type.
    """
    left = iter(messages)
    async with await aio_pika.connect(broker) as connection:
        await declare_topology(connection)
        channel = await connection.channel(on_return_raises=True)
        to = (
            await channel.get_exchange(exchange, ensure=False)
            if exchange
            else channel.default_exchange
        )
        while part := list(islice(left, CONFIRMS_AT_ONCE)):
            await asyncio.gather(
                *(
                    to.publish(
                        aio_pika.Message(
                            body, type=kind, delivery_mode=aio_pika.DeliveryMode.PERSISTENT
                        ),
                        key,
                    )
                    for key, body in part
                )
            )
