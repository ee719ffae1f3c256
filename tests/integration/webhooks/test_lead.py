"""Who leads learns that it does no more, in whatever way its connection broke."""

import asyncio

import asyncpg
import pytest

from tests.infrastructure import NewDatabase
from wa_api.webhooks.delivering import leadership as lead
from wa_api.webhooks.delivering.leadership import LeadershipLost, leading


@pytest.mark.parametrize(
    "broken",
    [
        asyncpg.InternalClientError("cannot switch to state 11; another operation is in progress"),
        asyncpg.InterfaceError("connection is closed"),
        asyncpg.AdminShutdownError("terminating connection"),
        ConnectionResetError(),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_a_connection_that_broke_ends_the_lead(
    new_database: NewDatabase, monkeypatch: pytest.MonkeyPatch, broken: Exception
) -> None:
    async def breaks(*_: object, **__: object) -> None:
        raise broken

    monkeypatch.setattr(lead, "LOOK_SECONDS", 0.01)
    with pytest.RaisesGroup(LeadershipLost):
        async with leading((await new_database()).api), asyncio.timeout(10):
            monkeypatch.setattr(asyncpg.Connection, "fetchval", breaks)
            await asyncio.Event().wait()
