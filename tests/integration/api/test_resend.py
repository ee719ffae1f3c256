"""`POST /api/messages/{id}/resend`: the limits, keys and answers of a send."""

import uuid
from typing import Any

import pytest

from tests.integration.api.running import RunningApi, running_api
from tests.integration.api.scripted_host import ScriptedHost
from tests.integration.api.sending import SEND, TEXT, assert_problem
from wa_api.settings import Settings
from wa_contracts.internal.commands import ResendMessage, SendMessage
from wa_contracts.message_events import MessageQueued


async def failed(api: RunningApi, host: ScriptedHost) -> tuple[dict[str, Any], str]:
    """A session, and a message of it that failed."""
    host.answers[SendMessage] = lambda command: host.failed(command, "send_failed")
    session = await api.new_session(host)
    answer = await api.client(session["token"]).post(SEND, json=TEXT)
    assert_problem(answer, 500, "send_failed")
    [send] = host.commands(SendMessage)
    return session, f"/api/messages/{send.message_id}/resend"


def answers_resends(host: ScriptedHost) -> None:
    """Queue the first command of an id, answer a repeat."""
    known: set[uuid.UUID] = set()

    async def answer(command: ResendMessage) -> None:
        if command.message_id in known:
            await host.reply(command)
            return
        known.add(command.message_id)
        queued = MessageQueued(
            id=command.message_id,
            to=TEXT["to"],
            type="text",
            expires_at=command.expires_at,
            resend_of=command.resend_of,
        )
        await host.happen(command.session_id, queued, cause=command)

    host.answers[ResendMessage] = answer


async def test_a_key_makes_one_message_and_its_repeats_say_so(
    api: RunningApi, host: ScriptedHost
) -> None:
    _, resend = await failed(api, host)
    answers_resends(host)
    headers = {"Idempotency-Key": "again"}
    first = await api.admin.post(resend, headers=headers)
    repeat = await api.admin.post(resend, headers=headers)
    other = await api.admin.post(resend, headers={"Idempotency-Key": "once-more"})
    without = await api.admin.post(resend)
    assert {one.status_code for one in (first, repeat, other, without)} == {202}
    assert first.json() == repeat.json()
    assert first.headers["location"] == f"/api/messages/{first.json()['id']}"
    assert ["idempotent-replayed" in one.headers for one in (first, repeat, other)] == [
        False,
        True,
        False,
    ]
    assert len({one.json()["id"] for one in (first, other, without)}) == 3


async def test_an_invalid_key_is_refused(api: RunningApi, host: ScriptedHost) -> None:
    _, resend = await failed(api, host)
    answer = await api.admin.post(resend, headers={"Idempotency-Key": "a b"})
    assert_problem(answer, 400, "invalid_request")
    assert host.commands(ResendMessage) == []


@pytest.mark.parametrize(
    ("code", "status"),
    [("idempotency_conflict", 422), ("queue_full", 429), ("session_logged_out", 409)],
)
async def test_refusals_of_the_owner_are_those_of_a_send(
    api: RunningApi, host: ScriptedHost, code: str, status: int
) -> None:
    _, resend = await failed(api, host)
    host.answers[ResendMessage] = lambda command: host.refuse(command, code)
    assert_problem(await api.admin.post(resend), status, code)


async def test_resends_and_sends_share_the_rate_of_a_token(
    settings: Settings, api: RunningApi, host: ScriptedHost
) -> None:
    session, resend = await failed(api, host)
    answers_resends(host)
    async with running_api(settings.model_copy(update={"session_rate_per_minute": 3})) as slow:
        for caller in (slow.client(session["token"]), slow.admin):
            for _ in range(3):
                assert (await caller.post(resend)).status_code == 202
            answer = await caller.post(resend)
            assert_problem(answer, 429, "rate_limited")
            assert int(answer.headers["retry-after"]) >= 1
        send = await slow.client(session["token"]).post(SEND, json=TEXT)
        assert_problem(send, 429, "rate_limited")
