"""What endpoints get, whatever they and their neighbours answer."""

from collections import defaultdict

import aiohttp
import pytest
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from tests.deadlines import eventually
from tests.integration.webhooks.receiver import (
    Behaviour,
    answers,
    breaks_off,
    hangs,
    hangs_up,
    ok,
)
from tests.integration.webhooks.world import World, running_deliverer
from wa_api.access.secret_box import SecretBox
from wa_api.webhooks.deliveries import DeliveryShown, DeliveryStatus
from wa_api.webhooks.endpoints import EndpointStatus
from wa_runtime import public_address

DELIVERED, GIVEN_UP = DeliveryStatus.DELIVERED, DeliveryStatus.GIVEN_UP


async def test_each_endpoint_gets_what_its_filter_names_in_order(world: World) -> None:
    one, two = await world.session(), await world.session()
    await world.receive(one)  # before anybody asked
    every = await world.endpoint("/every")
    await world.endpoint("/of-one", one)
    await world.endpoint("/deletions", events=["session.*"])
    async with running_deliverer(world.settings):
        await world.receive_in_turn([one, two], rounds=20)
        await world.delete_session(two)
        got = await world.gets("/every", 41)
        assert [r.sequence for r in await world.gets("/of-one", 20)] == list(range(3, 23))
        [deletion] = await world.gets("/deletions", 1)
        await world.ends(every, 41)
    assert deletion.event["type"] == "session.deleted"
    by_session = defaultdict(list)
    for request in got:
        by_session[request.event["sessionId"]].append(request.sequence)
    assert by_session == {str(one): list(range(3, 23)), str(two): list(range(2, 23))}
    assert {(d.status, d.attempts, d.response_status) for d in await world.log(every)} == {
        (DELIVERED, 1, 204)
    }
    assert got[0].headers["Content-Type"] == "application/json"


@pytest.mark.parametrize(
    "failure",
    [answers(500), answers(404), hangs, breaks_off, hangs_up, answers(429, Retry_After="0")],
    ids=["500", "404", "hangs", "breaks off", "hangs up", "429"],
)
async def test_a_failure_is_tried_again_and_nothing_overtakes_it(
    world: World, failure: Behaviour
) -> None:
    session = await world.session()
    endpoint = await world.endpoint("/here", session)
    neighbour = await world.endpoint("/there", session)
    world.receiver.behaviours["/here"] = failure
    async with running_deliverer(world.settings):
        await world.receive(session, 5)
        await world.ends(neighbour, 5)
        await world.gets("/here", 3)
        assert (await world.shown(endpoint)).failing_since
        assert (await world.shown(endpoint)).last_error
        world.receiver.behaviours["/here"] = ok
        await world.ends(endpoint, 5)
    got = world.receiver.received["/here"]
    first = [r for r in got if r.sequence == 2]
    assert len(first) >= 3
    assert len({(r.webhook_id, r.body) for r in first}) == 1
    assert [r.sequence for r in got[len(first) :]] == [3, 4, 5, 6]
    assert {d.status for d in await world.log(endpoint)} == {DELIVERED}
    assert (await world.shown(endpoint)).failing_since is None


async def test_a_redirect_is_not_followed(world: World) -> None:
    session = await world.session()
    endpoint = await world.endpoint("/redirects", session)
    world.receiver.behaviours["/redirects"] = answers(
        307, Location=world.receiver.url("/inside", "127.0.0.9")
    )
    async with running_deliverer(world.settings):
        await world.receive(session)
        await world.gets("/redirects", 2)
    [delivery] = await world.log(endpoint)
    assert delivery.error == "It answered 307: redirects are not followed."
    assert not world.receiver.received["/inside"]


async def test_a_private_address_is_not_connected_to(world: World) -> None:
    session = await world.session()
    endpoint = await world.endpoint("/private", session, host="localhost")
    async with running_deliverer(world.settings):
        await world.receive(session)

        async def refused() -> bool:
            log = await world.log(endpoint)
            assert [d.attempts >= 2 for d in log] == [True], log
            return "private or special address" in (log[0].error or "")

        await eventually(refused, what="the address is refused")
    assert not world.receiver.received["/private"]


async def test_a_name_that_moves_to_a_private_address_is_refused_then(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """127.0.0.2 stands for a public address: all load stays on loopback."""
    leads_to = "127.0.0.2"
    is_public = public_address.is_public
    monkeypatch.setattr(public_address, "is_public", lambda ip: ip == "127.0.0.2" or is_public(ip))

    async def resolve(_: object, host: str, port: int = 0, family: int = 0) -> list[object]:
        assert host == "moves.example"
        return [
            {"hostname": host, "host": leads_to, "port": port, "family": 2, "proto": 6, "flags": 0}
        ]

    monkeypatch.setattr(aiohttp.resolver.ThreadedResolver, "resolve", resolve)
    session = await world.session()
    endpoint = await world.endpoint("/moves", session, host="moves.example")
    async with running_deliverer(world.settings):
        await world.receive(session)
        await world.ends(endpoint, 1)
        leads_to = "127.0.0.1"
        await world.receive(session)

        async def refused() -> bool:
            delivery = (await world.log(endpoint))[-1]
            return "private or special address" in (delivery.error or "")

        await eventually(refused, what="the second delivery is refused")
        assert len(world.receiver.received["/moves"]) == 1
        leads_to = "127.0.0.2"
        await world.ends(endpoint, 2)


async def test_other_sessions_of_an_endpoint_go_on_beside_a_failing_one(world: World) -> None:
    bad, good = await world.session(), await world.session()
    endpoint = await world.endpoint("/both", events=["message.*"])

    async def refuses_one(request: aiohttp.web.Request) -> aiohttp.web.StreamResponse:
        event = await request.json()
        return aiohttp.web.Response(status=500 if event["sessionId"] == str(bad) else 200)

    world.receiver.behaviours["/both"] = refuses_one
    async with running_deliverer(world.settings):
        await world.receive_in_turn([bad, good], rounds=5)
        await world.ends(endpoint, 5)
        log = await world.log(endpoint)
        assert {d.session_id for d in log if d.status is DELIVERED} == {good}
        world.receiver.behaviours["/both"] = ok
        await world.ends(endpoint, 10)


@pytest.mark.parametrize("world", [{"webhook_retry_seconds": 1.5}], indirect=True)
async def test_what_alone_fails_for_the_whole_time_is_given_up_and_can_be_redelivered(
    world: World,
) -> None:
    session, lively = await world.session(), await world.session()
    endpoint = await world.endpoint("/picky", events=["message.*"])

    async def refuses_poison(request: aiohttp.web.Request) -> aiohttp.web.StreamResponse:
        event = await request.json()
        return aiohttp.web.Response(status=500 if event["data"]["text"] == "poison" else 200)

    world.receiver.behaviours["/picky"] = refuses_poison
    async with running_deliverer(world.settings):
        await world.receive(session, text="poison")
        await world.receive(session)

        async def given_up() -> DeliveryShown:
            await world.receive(lively)  # the endpoint as such is alive
            log = [d for d in await world.log(endpoint) if d.session_id == session]
            assert log, "it is not made yet"
            assert log[0].status is GIVEN_UP, log[0]
            return log[0]

        poison = await eventually(given_up, every=0.1, what="it is given up")
        assert poison.reason == "retries_exhausted"
        assert poison.attempts > 1
        await eventually(
            lambda: any(r.sequence == 3 for r in world.receiver.received["/picky"]),
            what="the next of its session goes out",
        )
        world.receiver.behaviours["/picky"] = ok
        await world.deliveries.redeliver(endpoint.id, poison.id)

        async def delivered() -> bool:
            found = await world.deliveries.page(endpoint.id, DELIVERED, None, 1000)
            return poison.id in {d.id for d in found.items}

        await eventually(delivered, what="it arrives after all")
    requests = [
        (r.webhook_id, r.body)
        for r in world.receiver.received["/picky"]
        if r.event["data"]["text"] == "poison"
    ]
    assert len(requests) == poison.attempts + 1
    assert len(set(requests)) == 1


@pytest.mark.parametrize("world", [{"webhook_retry_seconds": 1.0}], indirect=True)
async def test_a_dead_endpoint_is_paused_and_gets_everything_when_it_is_resumed(
    world: World,
) -> None:
    session = await world.session()
    endpoint = await world.endpoint("/dead", session)
    world.receiver.behaviours["/dead"] = answers(500)

    async def paused() -> bool:
        return (await world.shown(endpoint)).status is EndpointStatus.PAUSED

    async with running_deliverer(world.settings):
        await world.receive(session, 10)
        await eventually(paused, what="it is paused")
        shown = await world.shown(endpoint)
        assert shown.status_reason == "unreachable"
        assert shown.last_error == "It answered 500."
        tried = len(world.receiver.received["/dead"])
        await world.receive(session, 10)
        await world.waits(endpoint, 20)
        world.receiver.behaviours["/dead"] = ok
        await world.endpoints.resume(endpoint.id)
        await world.ends(endpoint, 20)
    got = world.receiver.received["/dead"][tried:]
    assert [r.sequence for r in got] == list(range(2, 22))


async def test_gone_pauses_at_once(world: World) -> None:
    session = await world.session()
    endpoint = await world.endpoint("/gone", session)
    world.receiver.behaviours["/gone"] = answers(410)
    async with running_deliverer(world.settings):
        await world.receive(session, 3)

        async def paused() -> bool:
            return (await world.shown(endpoint)).status_reason == "gone"

        await eventually(paused, what="it is paused")
        assert len(world.receiver.received["/gone"]) == 1
        test = await world.deliveries.test(endpoint.id, session)
        received = await world.gets("/gone", 2)
        assert received[-1].event["type"] == "webhook.test"
        assert received[-1].webhook_id == str(test.event_id)
    assert (await world.shown(endpoint)).backlog == 3


@pytest.mark.parametrize("world", [{"webhook_backlog_limit": 5}], indirect=True)
async def test_what_exceeds_the_backlog_is_listed_and_can_be_redelivered(world: World) -> None:
    session = await world.session()
    endpoint = await world.endpoint("/full", session)
    await world.endpoints.pause(endpoint.id)
    async with running_deliverer(world.settings):
        await world.receive(session, 3)
        await world.receive(session, 4)
        await world.ends(endpoint, 2)
        log = await world.log(endpoint)
        assert [(d.status, d.reason) for d in log[5:]] == [(GIVEN_UP, "backlog_full")] * 2
        assert (await world.shown(endpoint)).backlog == 5
        await world.endpoints.resume(endpoint.id)
        await world.ends(endpoint, 7)
        await world.deliveries.redeliver(endpoint.id, log[5].id)
        got = await world.gets("/full", 6)
        await world.ends(endpoint, 7)
    assert [r.sequence for r in got] == [2, 3, 4, 5, 6, 7]


async def test_what_is_deleted_gets_nothing_more(world: World) -> None:
    session = await world.session()
    ended = await world.endpoint("/ended", session)
    deleted = await world.endpoint("/deleted")
    async with running_deliverer(world.settings):
        await world.receive(session)
        await world.ends(ended, 1)
        await world.ends(deleted, 1)
        await world.endpoints.delete(deleted.id)
        assert await world.endpoints.one(deleted.id) is None
        await world.delete_session(session)
        await world.ends(ended, 2)
    assert (await world.shown(ended)).status is EndpointStatus.ENDED
    assert [r.event["type"] for r in world.receiver.received["/ended"]] == [
        "message.received",
        "session.deleted",
    ]
    assert len(world.receiver.received["/deleted"]) == 1


async def test_signatures_are_those_of_the_standard(world: World) -> None:
    session = await world.session()
    endpoint = await world.endpoint("/signed", session)
    async with running_deliverer(world.settings):
        await world.receive(session, text="hello \u00fc \U0001f600")
        [request] = await world.gets("/signed", 1)
        Webhook(endpoint.secret).verify(request.body, dict(request.headers))
        rotated = await world.endpoints.rotate_secret(endpoint.id)
        assert rotated is not None
        with pytest.raises(WebhookVerificationError):
            Webhook(rotated.secret).verify(request.body, dict(request.headers))
        await world.receive(session)
        request = (await world.gets("/signed", 2))[-1]
        for secret in (endpoint.secret, rotated.secret):
            Webhook(secret).verify(request.body, dict(request.headers))
        async with world.database.connection() as connection:
            await connection.execute("UPDATE webhook_endpoints SET former_secret_until = now()")
        await world.endpoints.resume(endpoint.id)  # makes it read anew
        await world.receive(session)
        request = (await world.gets("/signed", 3))[-1]
        Webhook(rotated.secret).verify(request.body, dict(request.headers))
        with pytest.raises(WebhookVerificationError):
            Webhook(endpoint.secret).verify(request.body, dict(request.headers))
    stranger = Webhook("whsec_" + "A" * 43 + "=")
    with pytest.raises(WebhookVerificationError):
        stranger.verify(request.body, dict(request.headers))
    with pytest.raises(WebhookVerificationError):
        Webhook(rotated.secret).verify(request.body + " ", dict(request.headers))


async def test_with_another_key_nothing_is_sent_until_there_is_a_new_secret(world: World) -> None:
    session = await world.session()
    endpoint = await world.endpoint("/rekeyed", session)
    async with world.database.connection() as connection:
        sealed_otherwise = SecretBox(bytes(32)).seal(endpoint.id, endpoint.secret)
        await connection.execute(
            "UPDATE webhook_endpoints SET secret_cipher = $1", sealed_otherwise
        )
    async with running_deliverer(world.settings):
        await world.receive(session)
        await world.deliveries.test(endpoint.id, session)
        await world.waits(endpoint, 2)
        assert (await world.shown(endpoint)).status_reason == "secret_unreadable"
        rotated = await world.endpoints.rotate_secret(endpoint.id)
        assert rotated is not None
        await world.endpoints.resume(endpoint.id)
        for request in await world.gets("/rekeyed", 2):
            Webhook(rotated.secret).verify(request.body, dict(request.headers))


async def test_dead_endpoints_delay_nobody(world: World) -> None:
    """They are more than there are slots, and each would hold one for ten minutes."""
    sessions = [await world.session() for _ in range(20)]
    endpoints = [await world.endpoint(f"/{n}", one) for n, one in enumerate(sessions)]
    for number in range(10):
        world.receiver.behaviours[f"/{number}"] = hangs

    async def all_fail() -> bool:
        return all([(await world.shown(one)).failing_since for one in endpoints[:10]])

    few = world.settings.model_copy(update={"webhook_concurrency": 8})
    async with running_deliverer(few):
        await world.receive_in_turn(sessions, rounds=1)
        await eventually(all_fail, what="the dead ones are found")
    async with running_deliverer(few.model_copy(update={"webhook_answer_seconds": 600})):
        await world.receive_in_turn(sessions, rounds=10)
        for number in range(10, 20):
            await world.gets(f"/{number}", 11)
    assert await all_fail()
