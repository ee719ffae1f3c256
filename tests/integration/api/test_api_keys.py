"""API keys: what they open, how they are made, how they end."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import httpx
import pytest

from tests.deadlines import eventually
from tests.integration.api.running import RunningApi, running_api
from tests.integration.api.scripted_host import ScriptedHost
from tests.integration.api.sending import SEND, TEXT, assert_problem
from wa_api.access.scopes import Scope
from wa_api.events import routes as event_routes
from wa_api.settings import Settings
from wa_contracts.session_events import SessionStopped

KEYS = "/api/keys"
ALL = [str(scope) for scope in Scope]


async def create(api: RunningApi, *scopes: str, **more: Any) -> dict[str, Any]:
    """A new key, made by the operator."""
    body = {"name": "a program", "scopes": list(scopes), **more}
    answer = await api.admin.post(KEYS, json=body)
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


async def test_a_key_is_shown_once_stored_as_a_hash_and_revoked_at_once(
    api: RunningApi, settings: Settings
) -> None:
    answer = await api.admin.post(KEYS, json={"name": "CRM", "scopes": ["sessions:read"]})
    assert answer.headers["cache-control"] == "no-store"
    made = answer.json()
    key = made.pop("key")
    assert len(key) == len("wamk_") + 43
    assert (made["name"], made["scopes"], made["createdBy"]) == (
        "CRM",
        ["sessions:read"],
        "admin key",
    )
    assert (made["sessionIds"], made["expiresAt"], made["lastUsedAt"]) == (None, None, None)
    assert made in (await api.admin.get(KEYS)).json()["items"]
    connection = await asyncpg.connect(settings.api_database_url.get_secret_value())
    stored = await connection.fetchval("SELECT string_agg(k::text, ' ') FROM api_keys k")
    await connection.close()
    assert made["id"] in stored
    assert key not in stored
    async with running_api(settings) as second:
        clients = [api.client(key), second.client(key)]
        for client in clients:
            assert (await client.get("/api/sessions")).status_code == 200
        [listed] = [
            one for one in (await api.admin.get(KEYS)).json()["items"] if one["id"] == made["id"]
        ]
        used = datetime.fromisoformat(listed["lastUsedAt"])
        assert abs(datetime.now(UTC) - used) < timedelta(minutes=2)
        assert (await api.admin.delete(f"{KEYS}/{made['id']}")).status_code == 204
        for client in clients:
            assert_problem(await client.get("/api/sessions"), 401, "unauthorized")
    assert_problem(await api.admin.delete(f"{KEYS}/{made['id']}"), 404, "key_not_found")


@pytest.mark.parametrize("credential", ["key", "token"])
async def test_revoking_ends_open_streams_of_every_process_at_once(
    api: RunningApi,
    host: ScriptedHost,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    credential: str,
) -> None:
    monkeypatch.setattr(event_routes, "RECHECK_SECONDS", 3600.0)  # nothing ends by being looked up
    session = await api.new_session(host, linked=False)
    made = await create(api, "events:read")
    given = made["key"] if credential == "key" else session["token"]
    async with running_api(settings) as second:
        streams = [api.client(given), second.client(given)]
        async with asyncio.TaskGroup() as group:
            opened = [asyncio.Event(), asyncio.Event()]
            reading = [
                group.create_task(_until_the_end(client, event))
                for client, event in zip(streams, opened, strict=True)
            ]
            for event in opened:
                await asyncio.wait_for(event.wait(), 30)
            if credential == "key":
                await api.admin.delete(f"{KEYS}/{made['id']}")
            else:
                await api.admin.post(f"/api/sessions/{session['sessionId']}/token")
            await asyncio.wait(reading, timeout=30)
            assert all(one.done() for one in reading)


async def _until_the_end(client: httpx.AsyncClient, opened: asyncio.Event) -> None:
    async with client.stream("GET", "/api/events") as answer:
        assert answer.status_code == 200
        async for _ in answer.aiter_lines():
            opened.set()


async def test_open_streams_of_a_key_are_limited(api: RunningApi, settings: Settings) -> None:
    made, other = await create(api, "events:read"), await create(api, "events:read")
    few = settings.model_copy(update={"session_stream_limit": 1})
    async with running_api(few) as limited:
        client = limited.client(made["key"])
        async with client.stream("GET", "/api/events") as first:
            assert first.status_code == 200
            assert_problem(await client.get("/api/events"), 429, "too_many_streams")
            async with limited.client(other["key"]).stream("GET", "/api/events") as another:
                assert another.status_code == 200

        async def opens_again() -> bool:
            async with client.stream("GET", "/api/events") as again:
                return again.status_code == 200

        await eventually(opens_again, what="a closed stream does not count")


async def test_an_expired_key_is_refused(api: RunningApi) -> None:
    soon = datetime.now(UTC) + timedelta(seconds=2)
    made = await create(api, "sessions:read", expiresAt=soon.isoformat())
    client = api.client(made["key"])

    async def refused() -> httpx.Response:
        answer = await client.get("/api/sessions")
        assert answer.status_code == 401
        return answer

    answer: httpx.Response = await eventually(refused, what="the key expires")
    assert_problem(answer, 401, "unauthorized")
    listed = (await api.admin.get(KEYS)).json()["items"]
    assert made["id"] in {one["id"] for one in listed}


async def test_a_missing_scope_is_named(api: RunningApi) -> None:
    client = api.client((await create(api, "sessions:read"))["key"])
    answer = await client.post(SEND, json={**TEXT, "sessionId": str(uuid4())})
    problem = assert_problem(answer, 403, "insufficient_scope")
    assert "'messages:send'" in problem["error"]
    assert 'scope="messages:send"' in answer.headers["www-authenticate"]
    assert_problem(await client.get("/api/dead-letters"), 403, "forbidden")


async def test_a_key_sends_through_the_session_that_it_names(
    api: RunningApi, host: ScriptedHost
) -> None:
    mine, other = await api.new_session(host), await api.new_session(host)
    made = await create(api, "messages:send", "messages:read", sessionIds=[mine["sessionId"]])
    every = api.client((await create(api, "messages:send"))["key"])
    limited = api.client(made["key"])
    assert (await limited.post(SEND, json=TEXT)).status_code == 200
    named = {**TEXT, "sessionId": other["sessionId"]}
    assert_problem(await limited.post(SEND, json=named), 404, "session_not_found")
    assert (await every.post(SEND, json=named)).status_code == 200
    assert (await api.admin.post(SEND, json=named)).status_code == 200
    assert_problem(await every.post(SEND, json=TEXT), 400, "invalid_request")
    absent = await every.post(SEND, json={**TEXT, "sessionId": str(uuid4())})
    assert_problem(absent, 404, "session_not_found")
    own = api.client(mine["token"])
    assert_problem(await own.post(SEND, json=named), 404, "session_not_found")


async def test_a_token_and_a_key_share_idempotency_keys(
    api: RunningApi, host: ScriptedHost
) -> None:
    session = await api.new_session(host)
    client = api.client((await create(api, "messages:send"))["key"])
    headers = {"Idempotency-Key": "order 1".replace(" ", "-")}
    first = await api.client(session["token"]).post(SEND, json=TEXT, headers=headers)
    named = {**TEXT, "sessionId": session["sessionId"]}
    again = await client.post(SEND, json=named, headers=headers)
    assert again.headers["idempotent-replayed"] == "true"
    assert again.json() == first.json()


async def test_a_key_is_held_to_the_rate_of_the_session(
    host: ScriptedHost, settings: Settings, api: RunningApi
) -> None:
    session = await api.new_session(host)
    made = await create(api, "messages:send")
    slow = settings.model_copy(update={"session_rate_per_minute": 2})
    async with running_api(slow) as limited:
        client = limited.client(made["key"], Prefer="respond-async")
        named = {**TEXT, "sessionId": session["sessionId"]}
        answers = [await client.post(SEND, json=named) for _ in range(3)]
    assert [one.status_code for one in answers[:2]] == [202, 202]
    assert_problem(answers[2], 429, "rate_limited")


async def test_lists_and_events_of_several_sessions(api: RunningApi, host: ScriptedHost) -> None:
    sessions = [await api.new_session(host) for _ in range(3)]
    mine = [one["sessionId"] for one in sessions[:2]]
    made = await create(api, "sessions:read", "messages:read", "events:read", sessionIds=mine)
    client = api.client(made["key"])
    sent = []
    for session in (*sessions, *sessions):
        answer = await api.client(session["token"]).post(SEND, json=TEXT)
        sent.append(answer.json()["id"])
        await api.admin.get(f"/api/messages/{sent[-1]}")
    wanted = [sent[4], sent[3], sent[1], sent[0]]
    assert [one async for one in _ids(client, "/api/messages", "id")] == wanted
    listed = [one async for one in _ids(client, "/api/sessions", "sessionId")]
    assert listed == mine[::-1]
    elsewhere = {"sessionId": sessions[2]["sessionId"]}
    assert (await client.get("/api/messages", params=elsewhere)).json()["items"] == []
    for session in sessions:
        await host.happen(UUID(session["sessionId"]), SessionStopped())
    headers = {"Last-Event-ID": "0"}
    params = {"type": ["session.stopped", "session.connected"]}
    seen: list[str] = []
    async with client.stream("GET", "/api/events", headers=headers, params=params) as stream:
        async with asyncio.timeout(30):
            async for line in stream.aiter_lines():
                seen += [one for one in mine if one in line]
                assert sessions[2]["sessionId"] not in line
                if len(seen) == 4:
                    break
    assert seen == [*mine, *mine]
    refused = await client.get("/api/events", params=elsewhere)
    assert_problem(refused, 400, "invalid_request")


async def _ids(client: httpx.AsyncClient, path: str, name: str) -> AsyncIterator[str]:
    cursor: dict[str, str] = {}
    while True:
        page = (await client.get(path, params={"limit": "2", **cursor})).json()
        for item in page["items"]:
            yield item[name]
        if page["nextCursor"] is None:
            return
        cursor = {"cursor": page["nextCursor"]}


async def test_a_key_makes_and_sees_keys_within_its_own_rights(
    api: RunningApi, host: ScriptedHost
) -> None:
    session = (await api.new_session(host, linked=False))["sessionId"]
    until = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    rights = {"sessionIds": [session], "expiresAt": until}
    maker = api.client((await create(api, "keys:write", "messages:send", **rights))["key"])
    larger = await create(api, "messages:send")
    within = {"name": "less", "scopes": ["messages:send"], **rights}
    made = await maker.post(KEYS, json=within)
    assert made.status_code == 201
    assert made.json()["createdBy"] == "a program"
    for more in (
        {"scopes": ["messages:send", "tokens:read"]},
        {"sessionIds": None},
        {"expiresAt": None},
        {"expiresAt": (datetime.now(UTC) + timedelta(hours=2)).isoformat()},
    ):
        assert_problem(await maker.post(KEYS, json={**within, **more}), 403, "forbidden")
    listed = {one["id"] for one in (await maker.get(KEYS)).json()["items"]}
    assert made.json()["id"] in listed
    assert larger["id"] not in listed
    assert_problem(await maker.delete(f"{KEYS}/{larger['id']}"), 404, "key_not_found")
    assert (await maker.delete(f"{KEYS}/{made.json()['id']}")).status_code == 204


BAD_KEYS: list[tuple[dict[str, Any], str]] = [
    ({"name": ""}, "name"),
    ({"name": "  "}, "name"),
    ({"name": "x" * 129}, "name"),
    ({"name": None}, "name"),
    ({"scopes": []}, "scopes"),
    ({"scopes": ["everything"]}, "scopes.0"),
    ({"scopes": "sessions:read"}, "scopes"),
    ({"sessionIds": []}, "sessionIds"),
    ({"sessionIds": ["x"]}, "sessionIds.0"),
    ({"expiresAt": "tomorrow"}, "expiresAt"),
    ({"expiresAt": "9999-12-31T23:59:59-14:00"}, "expiresAt"),
    ({"expiresAt": "2030-01-01T00:00:00"}, "expiresAt"),
    ({"expiresAt": "2020-01-01T00:00:00Z"}, "expiresAt"),
]


@pytest.mark.parametrize(("wrong", "field"), BAD_KEYS)
async def test_a_bad_key_is_refused_with_its_field(
    api: RunningApi, wrong: dict[str, Any], field: str
) -> None:
    body = {"name": "a program", "scopes": ["sessions:read"], **wrong}
    problem = assert_problem(await api.admin.post(KEYS, json=body), 400, "invalid_request")
    assert [one["field"] for one in problem["details"]] == [field]


async def test_a_key_for_an_unknown_session_is_refused(api: RunningApi) -> None:
    body = {"name": "a program", "scopes": ["sessions:read"], "sessionIds": [str(uuid4())]}
    assert_problem(await api.admin.post(KEYS, json=body), 404, "session_not_found")


async def test_webhooks_of_a_key_are_those_of_its_sessions(
    api: RunningApi, host: ScriptedHost
) -> None:
    mine, other = [(await api.new_session(host, linked=False))["sessionId"] for _ in range(2)]
    made = await create(api, "webhooks:write", sessionIds=[mine])
    client = api.client(made["key"])
    body = {"url": "https://example.com/hook"}
    everything = (await api.admin.post("/api/webhooks", json=body)).json()
    theirs = (await api.admin.post("/api/webhooks", json={**body, "sessionId": other})).json()
    own = (await client.post("/api/webhooks", json=body)).json()
    assert own["sessionId"] == mine
    refused = await client.post("/api/webhooks", json={**body, "sessionId": other})
    assert_problem(refused, 404, "session_not_found")
    listed = (await client.get("/api/webhooks")).json()["items"]
    assert [one["id"] for one in listed] == [own["id"]]
    for hidden in (everything, theirs):
        answer = await client.delete(f"/api/webhooks/{hidden['id']}")
        assert_problem(answer, 404, "webhook_not_found")
