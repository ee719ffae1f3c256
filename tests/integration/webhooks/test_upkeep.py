"""What is removed, and what never is, by the time handed in."""

from datetime import UTC, datetime, timedelta

import pytest

from tests.integration.webhooks.installation import OPERATOR, WebhookInstallation, running_deliverer
from wa_api.webhooks.deliveries import DeliveryStatus, EventForgotten
from wa_api.webhooks.delivering.cleanup import Cleanup

KEEP = timedelta(days=30)


async def clean_up(installation: WebhookInstallation, *, later: timedelta = timedelta(0)) -> None:
    """One pass, as it would be so much later."""
    now = datetime.now(UTC) + later
    await Cleanup(installation.database, keep=KEEP, clock=lambda: now).clean_up()


async def rows(installation: WebhookInstallation, table: str) -> int:
    """How many there are."""
    async with installation.database.connection() as connection:
        return int(await connection.fetchval(f"SELECT count(*) FROM {table}"))


async def test_deliveries_that_ended_are_forgotten_and_those_that_wait_are_not(
    installation: WebhookInstallation,
) -> None:
    session = await installation.session()
    endpoint = await installation.endpoint("/here", session)
    async with running_deliverer(installation.settings):
        await installation.receive(session, 3)
        await installation.ends(endpoint, 3)
        await installation.set_paused(endpoint, paused=True)
        await installation.receive(session, 2)
        await installation.waits(endpoint, 2)
    await clean_up(installation, later=KEEP - timedelta(minutes=1))
    assert len(await installation.log(endpoint)) == 5
    await clean_up(installation, later=KEEP + timedelta(minutes=1))
    assert [d.status for d in await installation.log(endpoint)] == [DeliveryStatus.WAITING] * 2


async def test_what_waited_for_longer_than_the_feed_keeps_is_listed_as_expired(
    installation: WebhookInstallation,
) -> None:
    session = await installation.session()
    endpoint = await installation.endpoint("/here", session)
    await installation.set_paused(endpoint, paused=True)
    async with running_deliverer(installation.settings):
        await installation.receive(session, 2)
        await installation.waits(endpoint, 2)
    async with installation.database.connection() as connection:
        await connection.execute(
            "DELETE FROM feed WHERE position < (SELECT max(position) FROM feed)"
        )
    await clean_up(installation)
    old, young = await installation.log(endpoint)
    assert (old.status, old.reason) == (DeliveryStatus.GIVEN_UP, "expired")
    assert young.status is DeliveryStatus.WAITING
    with pytest.raises(EventForgotten):
        await installation.deliveries.redeliver(endpoint.id, old.id)


async def test_deleted_endpoints_and_those_of_sessions_deleted_long_ago_go(
    installation: WebhookInstallation,
) -> None:
    session = await installation.session()
    deleted, ended = (
        await installation.endpoint("/deleted"),
        await installation.endpoint("/ended", session),
    )
    async with running_deliverer(installation.settings):
        await installation.delete_session(session)
        await installation.ends(ended, 1)
        await installation.ends(deleted, 1)
    await installation.endpoints.delete(OPERATOR, deleted.id)
    await clean_up(installation)
    assert await rows(installation, "webhook_deliveries") == 1
    assert await installation.endpoints.one(ended.id)
    await clean_up(installation, later=KEEP + timedelta(minutes=1))
    assert await installation.endpoints.one(ended.id) is None
    await clean_up(installation)
    assert await rows(installation, "webhook_deliveries") == 0
