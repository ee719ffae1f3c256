"""`/api/webhooks`: what the operator's calls answer."""

import json
import re
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import jsonschema
import pytest

from tests.deadlines import eventually
from tests.infrastructure import NewDatabase
from tests.integration.api.running import RunningApi, running_api, running_projector, settings_for
from tests.integration.api.scripted_host import ScriptedHost, scripted_host
from tests.integration.webhooks.installation import IMPATIENT, running_deliverer
from tests.integration.webhooks.receiver import Receiver, answers, running_receiver
from wa_contracts.codec import EVENT_TYPES

HIDDEN = {"secret"}


@pytest.fixture(scope="module")
async def receiver() -> AsyncIterator[Receiver]:
    """One for the module; each test has paths of its own."""
    async with running_receiver() as receiver:
        yield receiver


@pytest.fixture(scope="module")
async def host(broker: str) -> AsyncIterator[ScriptedHost]:
    """The sessions' owner."""
    async with scripted_host(broker) as host:
        yield host


@pytest.fixture(scope="module")
async def api(
    new_migrated_database: NewDatabase,
    broker: str,
    host: ScriptedHost,
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[RunningApi]:
    """An api with its projector and its deliverer."""
    url = (await new_migrated_database()).api
    changed = {**IMPATIENT, "webhooks_metrics_port": 0}
    settings = settings_for(url, broker, tmp_path_factory.mktemp("api"), **changed)
    async with (
        running_projector(settings),
        running_deliverer(settings),
        running_api(settings) as api,
    ):
        yield api


async def made(api: RunningApi, **body: Any) -> dict[str, Any]:
    """A new endpoint."""
    answer = await api.admin.post("/api/webhooks", json=body)
    assert answer.status_code == 201, answer.text
    read: dict[str, Any] = answer.json()
    return read


async def test_an_endpoint_is_made_shown_changed_and_removed(
    api: RunningApi, host: ScriptedHost, receiver: Receiver
) -> None:
    session = await api.new_session(host)
    url = receiver.url("/life")
    answer = await api.admin.post(
        "/api/webhooks",
        json={"url": url, "events": ["message.*"], "sessionId": session["sessionId"]},
    )
    body = answer.json()
    assert body["secret"].startswith("whsec_")
    assert answer.headers["Cache-Control"] == "no-store"
    address = answer.headers["Location"]
    shown = (await api.admin.get(address)).json()
    assert shown == {key: value for key, value in body.items() if key not in HIDDEN}
    assert shown | {"url": url, "events": ["message.*"], "status": "active", "backlog": 0} == shown
    listed = (await api.admin.get("/api/webhooks")).json()["items"]
    assert shown in listed
    changed = await api.admin.patch(
        address, json={"url": receiver.url("/new"), "events": None, "paused": True}
    )
    assert (
        changed.json()
        | {
            "url": receiver.url("/new"),
            "events": None,
            "status": "paused",
            "statusReason": "operator",
        }
        == changed.json()
    )
    assert (await api.admin.patch(address, json={"paused": False})).json()["status"] == "active"
    refused = await api.admin.patch(address, json={"url": url, "events": ["message.sang"]})
    assert refused.status_code == 400
    assert (await api.admin.get(address)).json()["url"] == receiver.url("/new"), (
        "nothing is changed"
    )
    rotated = (await api.admin.post(f"{address}/secret")).json()
    assert rotated["secret"] != body["secret"]
    assert rotated["formerSecretUntil"]
    assert (await api.admin.delete(address)).status_code == 204
    assert (await api.admin.get(address)).status_code == 404
    assert (await api.admin.delete(address)).json()["code"] == "webhook_not_found"


async def test_a_session_has_its_own_and_those_of_all(
    api: RunningApi, host: ScriptedHost, receiver: Receiver
) -> None:
    one, two = [await api.new_session(host, linked=False) for _ in range(2)]
    of_all = await made(api, url=receiver.url("/all"))
    of_one = await made(api, url=receiver.url("/one"), sessionId=one["sessionId"])
    await made(api, url=receiver.url("/two"), sessionId=two["sessionId"])
    first = await api.admin.get("/api/webhooks", params={"sessionId": one["sessionId"], "limit": 1})
    second = await api.admin.get(
        "/api/webhooks",
        params={"sessionId": one["sessionId"], "cursor": first.json()["nextCursor"]},
    )
    ids = [item["id"] for page in (first, second) for item in page.json()["items"]]
    assert ids[:2] == [of_one["id"], of_all["id"]]


@pytest.mark.parametrize(
    ("body", "field", "says"),
    [
        ({}, "url", "required"),
        ({"url": "ftp://example.com/"}, "url", "http or https"),
        ({"url": "http://user:secret@example.com/"}, "url", "user name"),
        ({"url": "http://example.com:99999/"}, "url", "valid"),
        ({"url": "https:///path"}, "url", "no host"),
        ({"url": "http://example.com/\u00fc"}, "url", "ASCII"),
        ({"url": "http://10.0.0.1/"}, "url", "private"),
        ({"url": "http://169.254.169.254/latest/"}, "url", "private"),
        ({"url": "http://[::ffff:10.0.0.1]/"}, "url", "private"),
        ({"url": "http://0x7f000001/"}, "url", "private"),
        ({"url": "http://localhost:3000/"}, "url", "private"),
        ({"url": "https://example.com/", "events": ["message.sang"]}, "events", "one of"),
        ({"url": "https://example.com/", "events": []}, "events", "at least 1"),
        ({"url": "https://example.com/", "sessionId": "x"}, "sessionId", ""),
    ],
)
async def test_what_cannot_be_is_refused_with_a_sentence(
    api: RunningApi, body: dict[str, Any], field: str, says: str
) -> None:
    answer = await api.admin.post("/api/webhooks", json=body)
    assert answer.status_code == 400, answer.text
    assert [detail["field"] for detail in answer.json()["details"]] == [field]
    assert says in answer.json()["error"]


async def test_only_the_operator_may(api: RunningApi, host: ScriptedHost) -> None:
    session = await api.new_session(host, linked=False)
    for client in (api.anonymous, api.client(session["token"])):
        assert (await client.get("/api/webhooks")).status_code == 401
        answer = await client.post("/api/webhooks", json={"url": "https://example.com/"})
        assert answer.status_code == 401


async def test_what_is_not_there_is_not_found(api: RunningApi, receiver: Receiver) -> None:
    absent = f"/api/webhooks/{uuid4()}"
    for method, address in (
        ("GET", absent),
        ("DELETE", absent),
        ("POST", f"{absent}/secret"),
        ("POST", f"{absent}/test"),
        ("GET", f"{absent}/deliveries"),
    ):
        answer = await api.admin.request(method, address)
        assert (answer.status_code, answer.json()["code"]) == (404, "webhook_not_found")
    answer = await api.admin.patch(absent, json={})
    assert answer.json()["code"] == "webhook_not_found"
    body = {"url": receiver.url("/"), "sessionId": str(uuid4())}
    answer = await api.admin.post("/api/webhooks", json=body)
    assert answer.json()["code"] == "session_not_found"
    there = await made(api, url=receiver.url("/there"))
    answer = await api.admin.post(f"/api/webhooks/{there['id']}/deliveries/{uuid4()}/redeliver")
    assert (answer.status_code, answer.json()["code"]) == (404, "delivery_not_found")


async def test_deliveries_are_listed_and_made_once_more(
    api: RunningApi, host: ScriptedHost, receiver: Receiver
) -> None:
    session = await api.new_session(host, linked=False)
    receiver.behaviours["/listed"] = answers(503)
    endpoint = await made(api, url=receiver.url("/listed"), sessionId=session["sessionId"])
    address = f"/api/webhooks/{endpoint['id']}"
    tried = (await api.admin.post(f"{address}/test")).json()
    assert (tried["type"], tried["status"]) == ("webhook.test", "waiting")

    async def listed(status: str) -> dict[str, Any]:
        answer = await api.admin.get(f"{address}/deliveries", params={"status": status})
        items = answer.json()["items"]
        assert items, f"nothing {status}"
        found: dict[str, Any] = items[0]
        return found

    async def given_up() -> dict[str, Any]:
        return await listed("given_up")

    failed = await eventually(given_up, what="the test has failed")
    assert (
        failed
        | {
            "id": tried["id"],
            "reason": "test_failed",
            "attempts": 1,
            "responseStatus": 503,
            "error": "It answered 503.",
        }
        == failed
    )
    assert failed["durationMs"] >= 0
    receiver.behaviours.pop("/listed")
    again = await api.admin.post(f"{address}/deliveries/{tried['id']}/redeliver")
    assert again.status_code == 202

    async def delivered() -> dict[str, Any]:
        return await listed("delivered")

    done = await eventually(delivered, what="it is delivered after all")
    assert done | {"id": tried["id"], "attempts": 2, "responseStatus": 204, "error": None} == done
    assert len({(r.webhook_id, r.body) for r in receiver.received["/listed"]}) == 1


async def test_the_openapi_document_says_what_is_sent(api: RunningApi) -> None:
    document = (await api.anonymous.get("/openapi.json")).json()
    assert document["openapi"].startswith("3.1")
    assert set(document["webhooks"]) == set(EVENT_TYPES)
    references = set(re.findall(r'"\$ref": "#/components/schemas/([^"]+)"', json.dumps(document)))
    assert references <= set(document["components"]["schemas"])
    sent = document["webhooks"]["message.sent"]["post"]
    assert {p["name"] for p in sent["parameters"]} >= {"webhook-id", "webhook-signature"}
    schema = sent["requestBody"]["content"]["application/json"]["schema"]
    jsonschema.validate(
        sent["requestBody"]["content"]["application/json"]["example"],
        {**schema, "components": document["components"]},
    )


async def test_what_the_projector_writes_arrives(
    api: RunningApi, host: ScriptedHost, receiver: Receiver
) -> None:
    endpoint = await made(api, url=receiver.url("/real"), events=["session.connected"])
    session = await api.new_session(host)
    await eventually(lambda: receiver.received["/real"], what="it arrives")
    [request] = receiver.received["/real"]
    assert request.event["sessionId"] == session["sessionId"]
    assert (await api.admin.get(f"/api/webhooks/{endpoint['id']}")).json()["failingSince"] is None
