"""What the tests ask of a queue."""

import aio_pika


async def is_consumed(url: str, queue: str) -> bool:
    """Whether there is such a queue with a consumer: its bindings were made before."""
    async with await aio_pika.connect(url) as connection:
        channel = await connection.channel()
        try:
            found = await channel.declare_queue(queue, passive=True)
        except aio_pika.exceptions.ChannelNotFoundEntity:
            return False
        return bool(found.declaration_result.consumer_count)
