"""Headers of the user's own: sent with each request, to nobody else, never shown."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from standardwebhooks.webhooks import Webhook

from tests.infrastructure import NewDatabase
from tests.integration.api.running import RunningApi, running_api, settings_for
from tests.integration.api.sending import assert_problem
from tests.integration.webhooks.installation import (
    OPERATOR,
    WebhookInstallation,
    running_deliverer,
)
from tests.integration.webhooks.receiver import answers, running_receiver
from wa_api.access.secret_box import SecretBox
from wa_api.webhooks.endpoints import EndpointChange

HOOKS = "/api/webhooks"
VALUE = "Bearer a-value-that-nobody-sees"
URL = "https://example.com/hook"
OWN = {"Authorization": VALUE, "X-Tenant": "shop 7"}


@pytest.fixture(scope="module")
async def api(
    new_migrated_database: NewDatabase, broker: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[RunningApi]:
    """An api alone."""
    url = (await new_migrated_database()).api
    async with running_api(settings_for(url, broker, tmp_path_factory.mktemp("api"))) as api:
        yield api


async def test_their_names_are_shown_and_their_values_are_not(api: RunningApi) -> None:
    answer = await api.admin.post(HOOKS, json={"url": URL, "headers": OWN})
    assert answer.status_code == 201, answer.text
    assert answer.json()["headerNames"] == ["Authorization", "X-Tenant"]
    address = f"{HOOKS}/{answer.json()['id']}"
    changed = await api.admin.patch(address, json={"headers": {"X-Other": VALUE}})
    assert changed.json()["headerNames"] == ["X-Other"]
    listed, one = await api.admin.get(HOOKS), await api.admin.get(address)
    audit = await api.admin.get("/api/audit")
    for shown in (answer, changed, listed, one, audit):
        assert "a-value-that" not in shown.text
    kept = await api.admin.patch(address, json={"paused": True})
    assert kept.json()["headerNames"] == ["X-Other"]
    removed = await api.admin.patch(address, json={"headers": None})
    assert removed.json()["headerNames"] == []


BAD: dict[str, Any] = {
    "a name with a space": {"X Tenant": VALUE},
    "an empty name": {"": VALUE},
    "a name with a line break": {"X\r\nEvil": VALUE},
    "an empty value": {"X-Tenant": ""},
    "a value with a line break": {"X-Tenant": f"{VALUE}\r\nX-Evil: 1"},
    "a value beyond ASCII": {"X-Tenant": f"{VALUE}ü"},
    "a value of spaces around": {"X-Tenant": f" {VALUE} "},
    "a long value": {"X-Tenant": VALUE * 100},
    "the signature": {"Webhook-Signature": VALUE},
    "the id": {"webhook-id": VALUE},
    "the metadata": {"wa-session-metadata": VALUE},
    "the type": {"content-type": VALUE},
    "the length": {"Content-Length": "1"},
    "the host": {"HOST": "example.org"},
    "the same twice": {"X-Tenant": VALUE, "x-tenant": VALUE},
    "too many": {f"X-{number}": VALUE for number in range(21)},
    "a list": [VALUE],
    "a number": {"X-Tenant": 7},
}


@pytest.mark.parametrize("case", BAD)
async def test_malformed_ones_are_refused(api: RunningApi, case: str) -> None:
    answer = await api.admin.post(HOOKS, json={"url": URL, "headers": BAD[case]})
    problem = assert_problem(answer, 400, "invalid_request")
    assert problem["details"][0]["field"].startswith("headers")
    assert "a-value-that" not in answer.text


async def test_another_host_gets_them_only_if_they_are_given_anew(api: RunningApi) -> None:
    made = await api.admin.post(HOOKS, json={"url": URL, "headers": OWN})
    address = f"{HOOKS}/{made.json()['id']}"
    same = await api.admin.patch(address, json={"url": f"{URL}/deeper"})
    assert same.json()["headerNames"] == ["Authorization", "X-Tenant"]
    for elsewhere in ("https://example.org/hook", "http://example.com/hook"):
        refused = await api.admin.patch(address, json={"url": elsewhere})
        assert_problem(refused, 400, "invalid_request")
    given = {"url": "https://example.org/hook", "headers": {"X-Tenant": "shop 8"}}
    assert (await api.admin.patch(address, json=given)).json()["headerNames"] == ["X-Tenant"]


async def set_headers(installation: WebhookInstallation, path: str) -> tuple[Any, Any]:
    """A session and its endpoint with headers."""
    session = await installation.session()
    endpoint = await installation.endpoint(path, session)
    change = EndpointChange(frozenset({"headers"}), headers=OWN)
    await installation.endpoints.change(OPERATOR, endpoint.id, change)
    return session, endpoint


async def test_each_request_has_them_beside_the_signature(
    installation: WebhookInstallation,
) -> None:
    session, endpoint = await set_headers(installation, "/own")
    async with running_deliverer(installation.settings):
        await installation.receive(session)
        [request] = await installation.gets("/own", 1)
        assert {name: request.headers[name] for name in OWN} == OWN
        assert request.headers["Content-Type"] == "application/json"
        Webhook(endpoint.secret).verify(request.body, dict(request.headers))


async def test_a_redirect_carries_them_nowhere(installation: WebhookInstallation) -> None:
    session, _ = await set_headers(installation, "/moved")
    async with running_receiver() as other:
        installation.receiver.behaviours["/moved"] = answers(307, Location=other.url("/inside"))
        async with running_deliverer(installation.settings):
            await installation.receive(session)
            await installation.gets("/moved", 2)
        assert other.received == {}


async def test_unreadable_ones_pause_the_endpoint(installation: WebhookInstallation) -> None:
    session, endpoint = await set_headers(installation, "/unreadable")
    async with installation.database.connection() as connection:
        await connection.execute(
            "UPDATE webhook_endpoints SET headers_cipher = $1",
            SecretBox(bytes(32)).seal(endpoint.id, "{}"),
        )
    async with running_deliverer(installation.settings):
        await installation.receive(session)
        await installation.waits(endpoint, 1)
        assert (await installation.shown(endpoint)).status_reason == "secret_unreadable"
        change = EndpointChange(frozenset({"headers", "paused"}), headers=OWN, paused=False)
        await installation.endpoints.change(OPERATOR, endpoint.id, change)
        [request] = await installation.gets("/unreadable", 1)
        assert request.headers["X-Tenant"] == OWN["X-Tenant"]
