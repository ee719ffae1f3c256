"""A consumer's connection: what counts as lost, and what the broker will not let pass."""

from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import unquote, urlsplit

import aio_pika
from aio_pika.abc import AbstractConnection
from aiormq.exceptions import ChannelAccessRefused, ProbableAuthenticationError

LOST = (OSError, aio_pika.exceptions.AMQPError, RuntimeError, TimeoutError)
"""Exceptions of aio-pika when the broker goes away."""


class SubscriptionRefused(Exception):
    """The broker refuses the subscription, and would again. The message says what to change."""


async def connect(url: str) -> AbstractConnection:
    """Open a connection that is lost after 10 s to 20 s of silence."""
    return await aio_pika.connect(
        url, heartbeat=10, client_properties={"connection_name": "wa_contracts.consumer"}
    )


def user_of(url: str) -> str:
    """The user that the broker knows the URL's connections by."""
    return unquote(urlsplit(url).username or "guest")


@contextmanager
def refusals() -> Iterator[None]:
    """Tell refusals, which last, from a lost connection.

    Raises:
        SubscriptionRefused: The broker refuses the user, its password or a permission. (A refused virtual
            host counts as lost: aiormq does not tell it from a limit of connections.)
    """
    try:
        yield
    except ProbableAuthenticationError as error:
        raise SubscriptionRefused(
            f"The broker refuses the user or its password: {error}. Check the URL."
        ) from error
    except ChannelAccessRefused as error:
        raise SubscriptionRefused(
            f"The broker refuses a permission: {error}. Grant the user the permissions of"
            " docs/events.md. The queue's name must begin with the user's prefix."
        ) from error
