"""How a lost connection to RabbitMQ is told of: in one way."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aio_pika.exceptions import CONNECTION_EXCEPTIONS, DeliveryError


class BrokerConnectionLost(Exception):
    """The broker's connection ended while something was under way on it."""


@asynccontextmanager
async def translate_connection_errors() -> AsyncIterator[None]:
    """Turn every way in which aio-pika reports a lost connection into `ConnectionLost`.

    A channel that closes also raises CancelledError in those who wait on it, although nobody
    cancelled their task; a cancellation of the task itself is let through.
    """
    try:
        yield
    except DeliveryError:
        raise  # the broker's answer to a message, not the end of the connection
    except CONNECTION_EXCEPTIONS as error:
        raise BrokerConnectionLost(str(error) or type(error).__name__) from error
    except asyncio.CancelledError as error:
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        raise BrokerConnectionLost("channel closed") from error
