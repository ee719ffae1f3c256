"""One exception for a lost connection to RabbitMQ."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aio_pika.exceptions import CONNECTION_EXCEPTIONS, DeliveryError


class BrokerConnectionLost(Exception):
    """The broker connection ended during an operation."""


@asynccontextmanager
async def translate_connection_errors() -> AsyncIterator[None]:
    """Raise BrokerConnectionLost for every form in which aio-pika reports a lost connection.

    A closing channel raises CancelledError in its waiters without a cancellation of their task, and
    its own error in the place of a cancellation. A real cancellation passes through.
    """
    try:
        yield
    except DeliveryError:
        raise  # the broker's answer to one message
    except CONNECTION_EXCEPTIONS as error:
        if _is_cancelled():
            raise asyncio.CancelledError from error
        raise BrokerConnectionLost(str(error) or type(error).__name__) from error
    except asyncio.CancelledError as error:
        if _is_cancelled():
            raise
        raise BrokerConnectionLost("channel closed") from error


def _is_cancelled() -> bool:
    """Whether somebody cancelled the current task, or a time-out around it is over."""
    task = asyncio.current_task()
    return task is None or task.cancelling() > 0
