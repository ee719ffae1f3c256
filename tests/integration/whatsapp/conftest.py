"""One stand-in for all its tests; each test uses numbers of its own."""

from collections.abc import AsyncIterator

import pytest_asyncio

from tests.whatsapp import StandIn


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def whatsapp() -> AsyncIterator[StandIn]:
    """A running stand-in."""
    async with StandIn.start() as stand_in:
        yield stand_in
