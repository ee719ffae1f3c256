"""`POST /api/messages/send`: every status, with its body."""

import asyncio
import json
import uuid
from typing import Any
from uuid import UUID

import httpx
import pytest

from tests.deadlines import eventually
from tests.integration.api.running import RunningApi, running_api
from tests.integration.api.scripted_host import ScriptedHost
from tests.integration.api.sending import SEND, TEXT, assert_problem
from wa_api.settings import Settings
from wa_contracts.ids import SessionId, message_id_for_key
from wa_contracts.internal.commands import SendMessage
from wa_contracts.session_events import (
    Event,
    SessionBanned,
    SessionDisconnected,
    SessionFailed,
    SessionLoggedOut,
    SessionRestricted,
    SessionStopped,
)


async def test_sent(client: httpx.AsyncClient, host: ScriptedHost, session: dict[str, Any]) -> None:
    answer = await client.post(SEND, json={**TEXT, "reference": "order 7", "unknown": 1})
    assert answer.status_code == 200
    body = answer.json()
    assert list(body) == ["success", "messageId", "id", "status"]
    assert body["messageId"] == "3EB0601DAAF2EF6BE85000"
    assert body["success"] is True
    assert body["status"] == "sent"
    [command] = host.commands(SendMessage)
    assert str(command.message_id) == body["id"]
    assert command.text == "Hello World!"
    assert (command.expires_at - command.issued_at).total_seconds() == 86_400
    for key in (body["id"], body["messageId"]):
        message = (await client.get(f"/api/messages/{key}")).json()
        assert message["to"] == TEXT["to"]
        assert message["reference"] == "order 7" or key == body["messageId"]
        assert message["sessionId"] == session["sessionId"]


async def test_queued_when_the_wait_ends(
    settings: Settings, host: ScriptedHost, session: dict[str, Any]
) -> None:
    host.answers[SendMessage] = host.queued
    async with running_api(settings.model_copy(update={"send_wait_seconds": 0.3})) as api:
        answer = await api.client(session["token"]).post(SEND, json=TEXT)
    assert answer.status_code == 202
    body = answer.json()
    assert answer.headers["location"] == f"/api/messages/{body['id']}"
    assert body == {"success": True, "messageId": None, "id": body["id"], "status": "queued"}


async def test_queued_when_the_process_ends(
    settings: Settings, host: ScriptedHost, session: dict[str, Any]
) -> None:
    host.answers[SendMessage] = host.queued
    async with running_api(settings.model_copy(update={"send_wait_seconds": 60})) as api:
        client = api.client(session["token"])
        async with asyncio.TaskGroup() as group:
            sending = group.create_task(client.post(SEND, json=TEXT))
            await eventually(lambda: host.commands(SendMessage), what="the command arrives")
            api.stop.set()
    assert sending.result().status_code == 202


async def test_outcome_from_the_projection_when_no_reply_comes(
    settings: Settings, host: ScriptedHost, session: dict[str, Any]
) -> None:
    async def without_reply(command: SendMessage) -> None:
        muted = command.model_copy(update={"reply_to": None})
        await host.queued(muted)
        await host.sent(muted, "3EB0SILENT")

    host.answers[SendMessage] = without_reply
    async with running_api(settings.model_copy(update={"send_wait_seconds": 1})) as api:
        answer = await api.client(session["token"]).post(SEND, json=TEXT)
    assert answer.status_code == 200
    assert answer.json()["messageId"] == "3EB0SILENT"


@pytest.mark.parametrize("headers", [{}, {"Idempotency-Key": "async-1"}])
async def test_respond_async(
    client: httpx.AsyncClient, host: ScriptedHost, headers: dict[str, str]
) -> None:
    host.answers[SendMessage] = host.queued
    answer = await client.post(
        SEND, json=TEXT, headers={"Prefer": "respond-async, wait=5", **headers}
    )
    assert answer.status_code == 202
    assert answer.headers["location"] == f"/api/messages/{answer.json()['id']}"
    looked_up = await client.get(answer.headers["location"])
    assert looked_up.json()["status"] == "queued"


async def test_expires_in(client: httpx.AsyncClient, host: ScriptedHost) -> None:
    await client.post(SEND, json=TEXT, headers={"X-Expires-In": "60"})
    [command] = host.commands(SendMessage)
    assert (command.expires_at - command.issued_at).total_seconds() == 60


async def test_limits_are_inclusive(client: httpx.AsyncClient, settings: Settings) -> None:
    (settings.media_directory / "photo.jpg").write_bytes(b"x")
    for body in (
        {**TEXT, "message": "x" * 65_536, "reference": "r" * 128},
        {**TEXT, "to": "12345678901-1234567890@g.us"},
        {"to": TEXT["to"], "type": "image", "mediaUrl": "photo.jpg"},
        {
            "to": TEXT["to"],
            "type": "image",
            "mediaUrl": str(settings.media_directory / "photo.jpg"),
        },
        {"to": TEXT["to"], "type": "document", "mediaUrl": "https://example.com/a.pdf"},
    ):
        assert (await client.post(SEND, json=body)).status_code == 200, body


@pytest.mark.parametrize(
    ("code", "status", "shown"),
    [
        ("not_on_whatsapp", 500, "not_on_whatsapp"),
        ("media_unavailable", 500, "media_unavailable"),
        ("send_failed", 500, "send_failed"),
        ("expired", 500, "expired"),
        ("media_invalid", 400, "invalid_request"),
        ("media_refused", 400, "invalid_request"),
        ("media_too_large", 413, "media_too_large"),
        ("session_logged_out", 409, "session_logged_out"),
    ],
)
async def test_failures(
    client: httpx.AsyncClient, host: ScriptedHost, code: str, status: int, shown: str
) -> None:
    host.answers[SendMessage] = lambda command: host.failed(command, code)
    assert_problem(await client.post(SEND, json=TEXT), status, shown)


async def test_unknown(client: httpx.AsyncClient, host: ScriptedHost) -> None:
    host.answers[SendMessage] = host.unknown
    problem = assert_problem(await client.post(SEND, json=TEXT), 500, "outcome_unknown")
    assert (await client.get(f"/api/messages/{problem['id']}")).json()["status"] == "unknown"


@pytest.mark.parametrize(
    ("code", "status"), [("queue_full", 429), ("session_not_found", 404), ("expired", 500)]
)
async def test_refusals(
    client: httpx.AsyncClient, host: ScriptedHost, code: str, status: int
) -> None:
    host.answers[SendMessage] = lambda command: host.refuse(command, code)
    answer = await client.post(SEND, json=TEXT)
    assert_problem(answer, status, code)
    assert ("retry-after" in answer.headers) == (status == 429)


async def test_same_key_same_answer(
    client: httpx.AsyncClient, host: ScriptedHost, session: dict[str, Any]
) -> None:
    headers = {"Idempotency-Key": f"key-{uuid.uuid4()}"}
    first = await client.post(SEND, json=TEXT, headers=headers)
    again = await client.post(SEND, json=TEXT, headers=headers)
    assert first.status_code == again.status_code == 200
    assert first.json() == again.json()
    assert "idempotent-replayed" not in first.headers
    assert again.headers["idempotent-replayed"] == "true"
    session_id = SessionId(UUID(session["sessionId"]))
    assert first.json()["id"] == str(message_id_for_key(session_id, headers["Idempotency-Key"]))
    conflict = await client.post(SEND, json={**TEXT, "message": "other"}, headers=headers)
    assert_problem(conflict, 422, "idempotency_conflict")
    asynchronous = {**headers, "Prefer": "respond-async"}
    later = await client.post(SEND, json=TEXT, headers=asynchronous)
    assert later.headers["idempotent-replayed"] == "true"
    conflict = await client.post(SEND, json={**TEXT, "message": "b"}, headers=asynchronous)
    assert_problem(conflict, 422, "idempotency_conflict")


async def test_repeat_of_a_failure_fails_alike(
    client: httpx.AsyncClient, host: ScriptedHost
) -> None:
    headers = {"Idempotency-Key": f"key-{uuid.uuid4()}"}
    host.answers[SendMessage] = lambda command: host.failed(command, "not_on_whatsapp")
    first = await client.post(SEND, json=TEXT, headers=headers)
    host.answers.clear()
    again = await client.post(SEND, json=TEXT, headers=headers)
    assert_problem(again, 500, "not_on_whatsapp")
    assert again.json() == first.json()
    assert again.headers["idempotent-replayed"] == "true"


async def test_repeat_waits_while_the_first_is_queued(
    client: httpx.AsyncClient, host: ScriptedHost
) -> None:
    headers = {"Idempotency-Key": f"key-{uuid.uuid4()}"}

    arrived: list[SendMessage] = []

    async def queue_first(command: SendMessage) -> None:
        arrived.append(command)
        if command is not arrived[0]:
            await host.send(command)
            await host.sent(arrived[0])  # as the first request's outcome
        else:
            await host.queued(command)

    host.answers[SendMessage] = queue_first
    async with asyncio.TaskGroup() as group:
        first = group.create_task(client.post(SEND, json=TEXT, headers=headers))
        await eventually(lambda: len(host.snapshots), what="the first is queued")
        await eventually(lambda: host.commands(SendMessage), what="it arrived")
        again = group.create_task(client.post(SEND, json=TEXT, headers=headers))
    assert first.result().json() == again.result().json()
    assert again.result().headers["idempotent-replayed"] == "true"
    assert "idempotent-replayed" not in first.result().headers


STATES: list[tuple[Event, str, bool]] = [
    (SessionStopped(), "stopped", True),
    (SessionDisconnected(reason="network", message="Gone."), "disconnected", True),
    (SessionRestricted(reason="spam", message="For a while."), "restricted", True),
    (SessionLoggedOut(reason="phone"), "logged_out", False),
    (SessionBanned(reason="spam", message="For good."), "banned", False),
    (SessionFailed(reason="qr_expired", message="Not scanned."), "failed", False),
]


@pytest.mark.parametrize(("event", "state", "takes"), STATES, ids=[case[1] for case in STATES])
async def test_states(
    api: RunningApi, host: ScriptedHost, event: Event, state: str, takes: bool
) -> None:
    session = await api.new_session(host)
    client = api.client(session["token"])
    key = {"Idempotency-Key": "before"}
    assert (await client.post(SEND, json=TEXT, headers=key)).status_code == 200
    await host.happen(UUID(session["sessionId"]), event)
    await api.reaches(session["sessionId"], state)
    host.answers[SendMessage] = host.queued
    answer = await client.post(SEND, json=TEXT, headers={"Prefer": "respond-async"})
    if takes:
        assert answer.status_code == 202
    else:
        assert_problem(answer, 409, f"session_{state}")
    host.answers.clear()
    repeat = await client.post(SEND, json=TEXT, headers=key)
    assert repeat.status_code == 200
    assert repeat.headers["idempotent-replayed"] == "true"


async def test_over_the_rate(
    settings: Settings, host: ScriptedHost, session: dict[str, Any]
) -> None:
    async with running_api(settings.model_copy(update={"session_rate_per_minute": 2})) as api:
        client = api.client(session["token"])
        answers = [await client.post(SEND, json=TEXT) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert_problem(answers[2], 429, "rate_limited")
    assert 1 <= int(answers[2].headers["retry-after"]) <= 30


async def test_queue_full(settings: Settings, host: ScriptedHost, api: RunningApi) -> None:
    session = await api.new_session(host)
    host.answers[SendMessage] = host.queued
    async with running_api(settings.model_copy(update={"session_queue_limit": 1})) as small:
        client = small.client(session["token"])
        headers = {"Prefer": "respond-async"}
        queued = await client.post(SEND, json=TEXT, headers=headers)
        await client.get(queued.headers["location"])
        answer = await client.post(SEND, json=TEXT, headers=headers)
        assert_problem(answer, 429, "queue_full")
        assert "retry-after" in answer.headers


async def test_order_of_the_202s(client: httpx.AsyncClient, host: ScriptedHost) -> None:
    ids = []
    for number in range(30):
        body = {**TEXT, "message": str(number)}
        answer = await client.post(SEND, json=body, headers={"Prefer": "respond-async"})
        ids.append(answer.json()["id"])
    await eventually(lambda: len(host.commands(SendMessage)) == 30, what="all commands arrive")
    assert [str(command.message_id) for command in host.commands(SendMessage)] == ids


async def test_openapi_describes_it(api: RunningApi) -> None:
    document = (await api.anonymous.get("/openapi.json")).json()
    responses = document["paths"]["/api/messages/send"]["post"]["responses"]
    assert set(responses) == {
        *("200", "202", "400", "401", "403", "404", "408", "409", "413", "415", "422", "429"),
        *("500", "503"),
    }
    assert "HTTPValidationError" not in json.dumps(document)
