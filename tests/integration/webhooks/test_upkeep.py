"""What is removed, and what never is, by the time handed in."""

from datetime import UTC, datetime, timedelta

import pytest

from tests.integration.webhooks.world import World, running_deliverer
from wa_api.webhooks.deliveries import DeliveryStatus, EventForgotten
from wa_api.webhooks.delivering.cleanup import Cleanup

KEEP = timedelta(days=30)


async def clean_up(world: World, *, later: timedelta = timedelta(0)) -> None:
    """One pass, as it would be so much later."""
    now = datetime.now(UTC) + later
    await Cleanup(world.database, keep=KEEP, clock=lambda: now).clean_up()


async def rows(world: World, table: str) -> int:
    """How many there are."""
    async with world.database.connection() as connection:
        return int(await connection.fetchval(f"SELECT count(*) FROM {table}"))


async def test_deliveries_that_ended_are_forgotten_and_those_that_wait_are_not(
    world: World,
) -> None:
    session = await world.session()
    endpoint = await world.endpoint("/here", session)
    async with running_deliverer(world.settings):
        await world.receive(session, 3)
        await world.ends(endpoint, 3)
        await world.endpoints.pause(endpoint.id)
        await world.receive(session, 2)
        await world.waits(endpoint, 2)
    await clean_up(world, later=KEEP - timedelta(minutes=1))
    assert len(await world.log(endpoint)) == 5
    await clean_up(world, later=KEEP + timedelta(minutes=1))
    assert [d.status for d in await world.log(endpoint)] == [DeliveryStatus.WAITING] * 2


async def test_what_waited_for_longer_than_the_feed_keeps_is_listed_as_expired(
    world: World,
) -> None:
    session = await world.session()
    endpoint = await world.endpoint("/here", session)
    await world.endpoints.pause(endpoint.id)
    async with running_deliverer(world.settings):
        await world.receive(session, 2)
        await world.waits(endpoint, 2)
    async with world.database.connection() as connection:
        await connection.execute(
            "DELETE FROM feed WHERE position < (SELECT max(position) FROM feed)"
        )
    await clean_up(world)
    old, young = await world.log(endpoint)
    assert (old.status, old.reason) == (DeliveryStatus.GIVEN_UP, "expired")
    assert young.status is DeliveryStatus.WAITING
    with pytest.raises(EventForgotten):
        await world.deliveries.redeliver(endpoint.id, old.id)


async def test_deleted_endpoints_and_those_of_sessions_deleted_long_ago_go(world: World) -> None:
    session = await world.session()
    deleted, ended = await world.endpoint("/deleted"), await world.endpoint("/ended", session)
    async with running_deliverer(world.settings):
        await world.delete_session(session)
        await world.ends(ended, 1)
        await world.ends(deleted, 1)
    await world.endpoints.delete(deleted.id)
    await clean_up(world)
    assert await rows(world, "webhook_deliveries") == 1
    assert await world.endpoints.one(ended.id)
    await clean_up(world, later=KEEP + timedelta(minutes=1))
    assert await world.endpoints.one(ended.id) is None
    await clean_up(world)
    assert await rows(world, "webhook_deliveries") == 0
