"""The audit log: who changed what, when and from where."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from tests.integration.api.running import ADMIN_KEY, RunningApi
from tests.integration.api.scripted_host import ScriptedHost
from tests.integration.api.sending import assert_problem
from wa_api.audit import Action, Actor, ActorKind, AuditFilter, AuditLog, Change
from wa_api.database.pool import Database
from wa_api.settings import Settings
from wa_contracts.internal.commands import Command, StopSession

AUDIT = "/api/audit"
HOOK = {"url": "https://example.com/hook?secret=in-the-address"}
PROXY = "socks5://user:a-password-of-a-proxy@proxy.example.com:1080"


async def entries(api: RunningApi, **wanted: str) -> list[dict[str, Any]]:
    """The newest entries, oldest first."""
    answer = await api.admin.get(AUDIT, params={"limit": "200", **wanted})
    assert answer.status_code == 200, answer.text
    items: list[dict[str, Any]] = answer.json()["items"]
    return items[::-1]


async def test_every_change_of_a_session_has_an_entry(api: RunningApi, host: ScriptedHost) -> None:
    session = (await api.new_session(host, linked=False))["sessionId"]
    address = f"/api/sessions/{session}"
    await api.admin.patch(address, json={"proxy": PROXY, "name": "Sales"})
    for call in ("restart", "stop", "logout", "token"):
        assert (await api.admin.post(f"{address}/{call}")).is_success
    await api.admin.delete(address)
    found = await entries(api, sessionId=session)
    assert [one["action"] for one in found] == [
        *("session.create", "session.update", "session.restart", "session.stop"),
        *("session.logout", "token.rotate", "session.delete"),
    ]
    assert {(one["actor"], one["actorName"]) for one in found} == {("admin_key", "admin key")}
    assert {one["address"] for one in found} == {"127.0.0.1"}
    assert found[0]["details"] == {"name": "shop"}
    assert found[1]["details"] == {"changed": ["name", "proxy"]}
    now = datetime.now(UTC)
    for one in found:
        assert now - timedelta(minutes=5) < datetime.fromisoformat(one["occurredAt"]) <= now


async def test_keys_and_webhooks_have_entries_and_a_key_is_named(
    api: RunningApi, host: ScriptedHost
) -> None:
    scopes = ["webhooks:write", "keys:write"]
    body = {"name": "Deployment", "scopes": scopes}
    made = (await api.admin.post("/api/keys", json=body)).json()
    client = api.client(made["key"])
    hook = (await client.post("/api/webhooks", json=HOOK)).json()
    await client.patch(f"/api/webhooks/{hook['id']}", json={"paused": True, "events": None})
    await client.post(f"/api/webhooks/{hook['id']}/secret")
    await client.delete(f"/api/webhooks/{hook['id']}")
    less = (await client.post("/api/keys", json={**body, "scopes": scopes[:1]})).json()
    await client.delete(f"/api/keys/{less['id']}")
    found = await entries(api, keyId=made["id"])
    assert [(one["action"], one["subjectName"]) for one in found] == [
        ("webhook.create", "example.com"),
        ("webhook.update", "example.com"),
        ("webhook.secret_rotate", "example.com"),
        ("webhook.delete", "example.com"),
        ("key.create", "Deployment"),
        ("key.revoke", "Deployment"),
    ]
    assert {(one["actor"], one["actorName"]) for one in found} == {("api_key", "Deployment")}
    assert found[1]["details"] == {"changed": ["events", "paused"]}
    assert found[4]["details"] == {"scopes": scopes[:1], "sessionIds": None, "expiresAt": None}
    assert found[4]["subjectId"] == less["id"]


async def test_the_dashboard_is_an_author(api: RunningApi, host: ScriptedHost) -> None:
    async with httpx.AsyncClient(base_url=api.base_url, trust_env=False) as browser:
        await browser.post("/login", data={"key": ADMIN_KEY})
        page = (await browser.get("/")).text
        token = page.partition('name="csrf-token" content="')[2].partition('"')[0]
        forwarded = {"X-CSRF-Token": token, "X-Forwarded-For": "198.51.100.7"}
        made = await browser.post("/api/sessions", headers=forwarded)
    [one] = await entries(api, sessionId=made.json()["sessionId"])
    assert (one["actor"], one["actorName"], one["address"]) == ("page", "dashboard", "198.51.100.7")


async def test_what_is_refused_has_no_entry(api: RunningApi, host: ScriptedHost) -> None:
    before = await entries(api)
    await api.admin.post(f"/api/sessions/{uuid4()}/stop")
    await api.admin.delete(f"/api/sessions/{uuid4()}")
    await api.admin.post("/api/webhooks", json={**HOOK, "sessionId": str(uuid4())})
    await api.admin.delete(f"/api/webhooks/{uuid4()}")
    await api.admin.delete(f"/api/keys/{uuid4()}")
    assert await entries(api) == before


async def test_an_accepted_command_has_an_entry_though_no_host_answers(
    api: RunningApi, host: ScriptedHost
) -> None:
    session = (await api.new_session(host, linked=False))["sessionId"]

    async def silent(_: Command) -> None:
        return None

    host.answers[StopSession] = silent
    await api.admin.post(f"/api/sessions/{session}/stop")
    after = [one["action"] for one in await entries(api, sessionId=session)]
    assert after == ["session.create", "session.stop"]


async def test_no_secret_is_in_an_entry(api: RunningApi, host: ScriptedHost) -> None:
    text = (await api.admin.get(AUDIT, params={"limit": "200"})).text
    for secret in ("wams_", "wamk_", "whsec_", "in-the-address", "a-password-of-a-proxy"):
        assert secret not in text


async def test_pages_and_filters(settings: Settings, api: RunningApi) -> None:
    mine = UUID(int=7)
    async with Database(settings.api_database_url.get_secret_value()) as database:
        log = AuditLog(database, keep=timedelta(days=1))
        for kind in (ActorKind.PAGE, ActorKind.ADMIN_KEY, ActorKind.PAGE):
            async with database.transaction() as connection:
                change = Change(Action.SESSION_STOP, mine)
                await log.record(connection, Actor(kind, "somebody", "::1"), change)
        first = await log.page(AuditFilter(session_id=mine), None, 2)
        assert len(first.items) == 2
    listed = await entries(api, sessionId=str(mine))
    assert len(listed) == 3
    page = {"sessionId": str(mine), "limit": "2"}
    newest = (await api.admin.get(AUDIT, params=page)).json()
    rest = await api.admin.get(AUDIT, params={**page, "cursor": newest["nextCursor"]})
    assert [*newest["items"], *rest.json()["items"]] == listed[::-1]
    assert rest.json()["nextCursor"] is None
    assert len(await entries(api, sessionId=str(mine), actor="page")) == 2
    assert len(await entries(api, sessionId=str(mine), action="session.restart")) == 0
    since = listed[1]["occurredAt"]
    assert await entries(api, sessionId=str(mine), since=since) == listed[1:]
    assert await entries(api, sessionId=str(mine), until=since) == listed[:1]
    for bad in ({"action": "nothing"}, {"since": "yesterday"}, {"since": "2026-01-01T00:00:00"}):
        assert_problem(await api.admin.get(AUDIT, params=bad), 400, "invalid_request")


async def test_old_entries_are_deleted(settings: Settings, api: RunningApi) -> None:
    mine = UUID(int=8)
    async with Database(settings.api_database_url.get_secret_value()) as database:
        log = AuditLog(database, keep=timedelta(days=30))
        for _ in range(2):
            async with database.transaction() as connection:
                change = Change(Action.SESSION_STOP, mine)
                await log.record(connection, Actor(ActorKind.PAGE, "dashboard", ""), change)
        async with database.connection() as connection:
            await connection.execute(
                "UPDATE audit SET occurred_at = now() - interval '31 days' WHERE id = ("
                "SELECT id FROM audit WHERE session_id = $1 LIMIT 1)",
                mine,
            )
        assert await log.forget() == 1
        assert len((await log.page(AuditFilter(session_id=mine), None, 10)).items) == 1


@pytest.mark.parametrize("key", [None, "wams_" + "0" * 43])
async def test_the_log_is_the_operators(api: RunningApi, key: str | None) -> None:
    assert_problem(await api.client(key).get(AUDIT), 401, "unauthorized")
