"""Deliveries that fail for long: given up, paused, delivered again on request."""

import aiohttp
import pytest

from tests.deadlines import eventually
from tests.integration.webhooks.installation import WebhookInstallation, running_deliverer
from tests.integration.webhooks.receiver import (
    answers,
    ok,
)
from wa_api.webhooks.deliveries import DeliveryShown, DeliveryStatus
from wa_api.webhooks.endpoints import EndpointStatus


@pytest.mark.parametrize("installation", [{"webhook_retry_seconds": 1.5}], indirect=True)
async def test_what_alone_fails_for_the_whole_time_is_given_up_and_can_be_redelivered(
    installation: WebhookInstallation,
) -> None:
    session, lively = await installation.session(), await installation.session()
    endpoint = await installation.endpoint("/picky", events=["message.*"])

    async def refuses_poison(request: aiohttp.web.Request) -> aiohttp.web.StreamResponse:
        event = await request.json()
        return aiohttp.web.Response(status=500 if event["data"]["text"] == "poison" else 200)

    installation.receiver.behaviours["/picky"] = refuses_poison
    async with running_deliverer(installation.settings):
        await installation.receive(session, text="poison")
        await installation.receive(session)

        async def given_up() -> DeliveryShown:
            await installation.receive(lively)  # the endpoint as such is alive
            log = [d for d in await installation.log(endpoint) if d.session_id == session]
            assert log, "it is not made yet"
            assert log[0].status is GIVEN_UP, log[0]
            return log[0]

        poison = await eventually(given_up, every=0.1, what="it is given up")
        assert poison.reason == "retries_exhausted"
        assert poison.attempts > 1
        await eventually(
            lambda: any(r.sequence == 3 for r in installation.receiver.received["/picky"]),
            what="the next of its session goes out",
        )
        installation.receiver.behaviours["/picky"] = ok
        await installation.deliveries.redeliver(endpoint.id, poison.id)

        async def delivered() -> bool:
            found = await installation.deliveries.page(endpoint.id, DELIVERED, None, 1000)
            return poison.id in {d.id for d in found.items}

        await eventually(delivered, what="it arrives after all")
    requests = [
        (r.webhook_id, r.body)
        for r in installation.receiver.received["/picky"]
        if r.event["data"]["text"] == "poison"
    ]
    assert len(requests) == poison.attempts + 1
    assert len(set(requests)) == 1


@pytest.mark.parametrize("installation", [{"webhook_retry_seconds": 1.0}], indirect=True)
async def test_a_dead_endpoint_is_paused_and_gets_everything_when_it_is_resumed(
    installation: WebhookInstallation,
) -> None:
    session = await installation.session()
    endpoint = await installation.endpoint("/dead", session)
    installation.receiver.behaviours["/dead"] = answers(500)

    async def paused() -> bool:
        return (await installation.shown(endpoint)).status is EndpointStatus.PAUSED

    async with running_deliverer(installation.settings):
        await installation.receive(session, 10)
        await eventually(paused, what="it is paused")
        shown = await installation.shown(endpoint)
        assert shown.status_reason == "unreachable"
        assert shown.last_error == "It answered 500."
        tried = len(installation.receiver.received["/dead"])
        await installation.receive(session, 10)
        await installation.waits(endpoint, 20)
        installation.receiver.behaviours["/dead"] = ok
        await installation.set_paused(endpoint, paused=False)
        await installation.ends(endpoint, 20)
    got = installation.receiver.received["/dead"][tried:]
    assert [r.sequence for r in got] == list(range(2, 22))


DELIVERED, GIVEN_UP = DeliveryStatus.DELIVERED, DeliveryStatus.GIVEN_UP


async def test_gone_pauses_at_once(installation: WebhookInstallation) -> None:
    session = await installation.session()
    endpoint = await installation.endpoint("/gone", session)
    installation.receiver.behaviours["/gone"] = answers(410)
    async with running_deliverer(installation.settings):
        await installation.receive(session, 3)

        async def paused() -> bool:
            return (await installation.shown(endpoint)).status_reason == "gone"

        await eventually(paused, what="it is paused")
        assert len(installation.receiver.received["/gone"]) == 1
        test = await installation.deliveries.test(endpoint.id, session)
        received = await installation.gets("/gone", 2)
        assert received[-1].event["type"] == "webhook.test"
        assert received[-1].webhook_id == str(test.event_id)
    assert (await installation.shown(endpoint)).backlog == 3


@pytest.mark.parametrize("installation", [{"webhook_backlog_limit": 5}], indirect=True)
async def test_what_exceeds_the_backlog_is_listed_and_can_be_redelivered(
    installation: WebhookInstallation,
) -> None:
    session = await installation.session()
    endpoint = await installation.endpoint("/full", session)
    await installation.set_paused(endpoint, paused=True)
    async with running_deliverer(installation.settings):
        await installation.receive(session, 3)
        await installation.receive(session, 4)
        await installation.ends(endpoint, 2)
        log = await installation.log(endpoint)
        assert [(d.status, d.reason) for d in log[5:]] == [(GIVEN_UP, "backlog_full")] * 2
        assert (await installation.shown(endpoint)).backlog == 5
        await installation.set_paused(endpoint, paused=False)
        await installation.ends(endpoint, 7)
        await installation.deliveries.redeliver(endpoint.id, log[5].id)
        got = await installation.gets("/full", 6)
        await installation.ends(endpoint, 7)
    assert [r.sequence for r in got] == [2, 3, 4, 5, 6, 7]
