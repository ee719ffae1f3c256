"""What endpoints get, whatever they and their neighbours answer."""

import json
from collections import defaultdict
from datetime import UTC, datetime, timedelta

import aiohttp
import pytest
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from tests.deadlines import eventually
from tests.integration.api.running import KEYS
from tests.integration.webhooks.installation import OPERATOR, WebhookInstallation, running_deliverer
from tests.integration.webhooks.receiver import (
    Behaviour,
    answers,
    breaks_off,
    hangs,
    hangs_up,
    ok,
)
from wa_api.access.media_links import MediaLinks
from wa_api.access.secret_box import SecretBox
from wa_api.webhooks.deliveries import DeliveryStatus
from wa_api.webhooks.endpoints import EndpointChange, EndpointStatus
from wa_contracts.session_events import SessionUpdated
from wa_runtime import public_address

DELIVERED, GIVEN_UP = DeliveryStatus.DELIVERED, DeliveryStatus.GIVEN_UP


async def test_each_endpoint_gets_what_its_filter_names_in_order(
    installation: WebhookInstallation,
) -> None:
    one, two = await installation.session(), await installation.session()
    await installation.receive(one)  # before anybody asked
    every = await installation.endpoint("/every")
    await installation.endpoint("/of-one", one)
    await installation.endpoint("/deletions", events=["session.*"])
    async with running_deliverer(installation.settings):
        await installation.receive_in_turn([one, two], rounds=20)
        await installation.delete_session(two)
        got = await installation.gets("/every", 41)
        assert [r.sequence for r in await installation.gets("/of-one", 20)] == list(range(3, 23))
        [deletion] = await installation.gets("/deletions", 1)
        await installation.ends(every, 41)
    assert deletion.event["type"] == "session.deleted"
    by_session = defaultdict(list)
    for request in got:
        by_session[request.event["sessionId"]].append(request.sequence)
    assert by_session == {str(one): list(range(3, 23)), str(two): list(range(2, 23))}
    assert {(d.status, d.attempts, d.response_status) for d in await installation.log(every)} == {
        (DELIVERED, 1, 204)
    }
    assert got[0].headers["Content-Type"] == "application/json"


async def test_the_sessions_metadata_comes_in_a_header(installation: WebhookInstallation) -> None:
    plain, marked = await installation.session(), await installation.session()
    await installation.happen(marked, SessionUpdated(metadata={"customer": "東京"}))
    await installation.endpoint("/plain", plain)
    await installation.endpoint("/marked", marked)
    async with running_deliverer(installation.settings):
        await installation.receive(plain)
        await installation.receive(marked)
        [without] = await installation.gets("/plain", 1)
        [request] = await installation.gets("/marked", 1)
    assert json.loads(request.headers["wa-session-metadata"]) == {"customer": "東京"}
    assert "wa-session-metadata" not in without.headers


async def test_an_endpoint_may_have_a_link_to_media(installation: WebhookInstallation) -> None:
    session = await installation.session()
    plain = await installation.endpoint("/plain", session)
    linking = await installation.endpoint("/linking", session, include_media=True)
    assert (plain.include_media, linking.include_media) == (False, True)
    async with running_deliverer(installation.settings):
        await installation.receive(session)
        message_id = await installation.receive_media(session)
        without = (await installation.gets("/plain", 2))[:2]
        text, request = (await installation.gets("/linking", 2))[:2]
        change = EndpointChange(frozenset({"include_media"}), include_media=True)
        await installation.endpoints.change(OPERATOR, plain.id, change)

        async def takes_effect() -> bool:
            await installation.receive_media(session)
            got = installation.receiver.received["/plain"]
            return "mediaUrl" in got[-1].event["data"]

        await eventually(takes_effect, what="the other endpoint gets links too")
    for one in (*without, text):
        assert "mediaUrl" not in one.event["data"]
    link = request.event["data"]["mediaUrl"]
    assert link.startswith(f"http://localhost:0/api/links/{message_id}?expires=")
    expires = int(link.partition("expires=")[2].partition("&")[0])
    MediaLinks(KEYS.encryption).check(str(message_id), expires, link.partition("signature=")[2])
    ends = datetime.fromisoformat(request.event["data"]["mediaUrlExpiresAt"])
    assert ends.timestamp() == expires
    assert ends - datetime.now(UTC) > timedelta(hours=23)
    Webhook(linking.secret).verify(request.body, dict(request.headers))


@pytest.mark.parametrize(
    "failure",
    [answers(500), answers(404), hangs, breaks_off, hangs_up, answers(429, Retry_After="0")],
    ids=["500", "404", "hangs", "breaks off", "hangs up", "429"],
)
async def test_a_failure_is_tried_again_and_nothing_overtakes_it(
    installation: WebhookInstallation, failure: Behaviour
) -> None:
    session = await installation.session()
    endpoint = await installation.endpoint("/here", session)
    neighbour = await installation.endpoint("/there", session)
    installation.receiver.behaviours["/here"] = failure
    async with running_deliverer(installation.settings):
        await installation.receive(session, 5)
        await installation.ends(neighbour, 5)
        await installation.gets("/here", 3)
        assert (await installation.shown(endpoint)).failing_since
        assert (await installation.shown(endpoint)).last_error
        installation.receiver.behaviours["/here"] = ok
        await installation.ends(endpoint, 5)
    got = installation.receiver.received["/here"]
    first = [r for r in got if r.sequence == 2]
    assert len(first) >= 3
    assert len({(r.webhook_id, r.body) for r in first}) == 1
    assert [r.sequence for r in got[len(first) :]] == [3, 4, 5, 6]
    assert {d.status for d in await installation.log(endpoint)} == {DELIVERED}
    assert (await installation.shown(endpoint)).failing_since is None


async def test_a_redirect_is_not_followed(installation: WebhookInstallation) -> None:
    session = await installation.session()
    endpoint = await installation.endpoint("/redirects", session)
    installation.receiver.behaviours["/redirects"] = answers(
        307, Location=installation.receiver.url("/inside", "127.0.0.9")
    )
    async with running_deliverer(installation.settings):
        await installation.receive(session)
        await installation.gets("/redirects", 2)
    [delivery] = await installation.log(endpoint)
    assert delivery.error == "It answered 307: redirects are not followed."
    assert not installation.receiver.received["/inside"]


async def test_a_private_address_is_not_connected_to(installation: WebhookInstallation) -> None:
    session = await installation.session()
    endpoint = await installation.endpoint("/private", session, host="localhost")
    async with running_deliverer(installation.settings):
        await installation.receive(session)

        async def refused() -> bool:
            log = await installation.log(endpoint)
            assert [d.attempts >= 2 for d in log] == [True], log
            return "private or special address" in (log[0].error or "")

        await eventually(refused, what="the address is refused")
    assert not installation.receiver.received["/private"]


async def test_a_name_that_moves_to_a_private_address_is_refused_then(
    installation: WebhookInstallation, monkeypatch: pytest.MonkeyPatch
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
    session = await installation.session()
    endpoint = await installation.endpoint("/moves", session, host="moves.example")
    async with running_deliverer(installation.settings):
        await installation.receive(session)
        await installation.ends(endpoint, 1)
        leads_to = "127.0.0.1"
        await installation.receive(session)

        async def refused() -> bool:
            delivery = (await installation.log(endpoint))[-1]
            return "private or special address" in (delivery.error or "")

        await eventually(refused, what="the second delivery is refused")
        assert len(installation.receiver.received["/moves"]) == 1
        leads_to = "127.0.0.2"
        await installation.ends(endpoint, 2)


async def test_other_sessions_of_an_endpoint_go_on_beside_a_failing_one(
    installation: WebhookInstallation,
) -> None:
    bad, good = await installation.session(), await installation.session()
    endpoint = await installation.endpoint("/both", events=["message.*"])

    async def refuses_one(request: aiohttp.web.Request) -> aiohttp.web.StreamResponse:
        event = await request.json()
        return aiohttp.web.Response(status=500 if event["sessionId"] == str(bad) else 200)

    installation.receiver.behaviours["/both"] = refuses_one
    async with running_deliverer(installation.settings):
        await installation.receive_in_turn([bad, good], rounds=5)
        await installation.ends(endpoint, 5)
        log = await installation.log(endpoint)
        assert {d.session_id for d in log if d.status is DELIVERED} == {good}
        installation.receiver.behaviours["/both"] = ok
        await installation.ends(endpoint, 10)


async def test_what_is_deleted_gets_nothing_more(installation: WebhookInstallation) -> None:
    session = await installation.session()
    ended = await installation.endpoint("/ended", session)
    deleted = await installation.endpoint("/deleted")
    async with running_deliverer(installation.settings):
        await installation.receive(session)
        await installation.ends(ended, 1)
        await installation.ends(deleted, 1)
        await installation.endpoints.delete(OPERATOR, deleted.id)
        assert await installation.endpoints.one(deleted.id) is None
        await installation.delete_session(session)
        await installation.ends(ended, 2)
    assert (await installation.shown(ended)).status is EndpointStatus.ENDED
    assert [r.event["type"] for r in installation.receiver.received["/ended"]] == [
        "message.received",
        "session.deleted",
    ]
    assert len(installation.receiver.received["/deleted"]) == 1


async def test_signatures_are_those_of_the_standard(installation: WebhookInstallation) -> None:
    session = await installation.session()
    endpoint = await installation.endpoint("/signed", session)
    async with running_deliverer(installation.settings):
        await installation.receive(session, text="hello \u00fc \U0001f600")
        [request] = await installation.gets("/signed", 1)
        Webhook(endpoint.secret).verify(request.body, dict(request.headers))
        rotated = await installation.endpoints.rotate_secret(OPERATOR, endpoint.id)
        assert rotated is not None
        with pytest.raises(WebhookVerificationError):
            Webhook(rotated.secret).verify(request.body, dict(request.headers))
        await installation.receive(session)
        request = (await installation.gets("/signed", 2))[-1]
        for secret in (endpoint.secret, rotated.secret):
            Webhook(secret).verify(request.body, dict(request.headers))
        async with installation.database.connection() as connection:
            await connection.execute("UPDATE webhook_endpoints SET former_secret_until = now()")
        await installation.set_paused(endpoint, paused=False)  # makes it read anew
        await installation.receive(session)
        request = (await installation.gets("/signed", 3))[-1]
        Webhook(rotated.secret).verify(request.body, dict(request.headers))
        with pytest.raises(WebhookVerificationError):
            Webhook(endpoint.secret).verify(request.body, dict(request.headers))
    stranger = Webhook("whsec_" + "A" * 43 + "=")
    with pytest.raises(WebhookVerificationError):
        stranger.verify(request.body, dict(request.headers))
    with pytest.raises(WebhookVerificationError):
        Webhook(rotated.secret).verify(request.body + " ", dict(request.headers))


async def test_with_another_key_nothing_is_sent_until_there_is_a_new_secret(
    installation: WebhookInstallation,
) -> None:
    session = await installation.session()
    endpoint = await installation.endpoint("/rekeyed", session)
    async with installation.database.connection() as connection:
        sealed_otherwise = SecretBox(bytes(32)).seal(endpoint.id, endpoint.secret)
        await connection.execute(
            "UPDATE webhook_endpoints SET secret_cipher = $1", sealed_otherwise
        )
    async with running_deliverer(installation.settings):
        await installation.receive(session)
        await installation.deliveries.test(endpoint.id, session)
        await installation.waits(endpoint, 2)
        assert (await installation.shown(endpoint)).status_reason == "secret_unreadable"
        rotated = await installation.endpoints.rotate_secret(OPERATOR, endpoint.id)
        assert rotated is not None
        await installation.set_paused(endpoint, paused=False)
        for request in await installation.gets("/rekeyed", 2):
            Webhook(rotated.secret).verify(request.body, dict(request.headers))


async def test_dead_endpoints_delay_nobody(installation: WebhookInstallation) -> None:
    """They are more than there are slots, and each would hold one for ten minutes."""
    sessions = [await installation.session() for _ in range(20)]
    endpoints = [await installation.endpoint(f"/{n}", one) for n, one in enumerate(sessions)]
    for number in range(10):
        installation.receiver.behaviours[f"/{number}"] = hangs

    async def all_fail() -> bool:
        return all([(await installation.shown(one)).failing_since for one in endpoints[:10]])

    few = installation.settings.model_copy(update={"webhook_concurrency": 8})
    async with running_deliverer(few):
        await installation.receive_in_turn(sessions, rounds=1)
        await eventually(all_fail, what="the dead ones are found")
    async with running_deliverer(few.model_copy(update={"webhook_answer_seconds": 600})):
        await installation.receive_in_turn(sessions, rounds=10)
        for number in range(10, 20):
            await installation.gets(f"/{number}", 11)
    assert await all_fail()
