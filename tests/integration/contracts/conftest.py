"""A publisher of events on a vhost of its own."""

from collections.abc import AsyncIterator

import aio_pika
import pytest

from tests.integration.contracts.consuming import (
    Publisher,
)
from wa_runtime.topology_declaration import declare_topology


@pytest.fixture
async def publisher(broker: str) -> AsyncIterator[Publisher]:
    """A publisher on a vhost with the topology."""
    connection = await aio_pika.connect(broker)
    async with connection:
        await declare_topology(connection)
        yield Publisher(broker, await connection.channel())
