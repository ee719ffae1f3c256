"""Many requests at once: how many wait, how tokens are looked up, who is slowed down."""

import asyncio
from collections.abc import Collection
from contextlib import AsyncExitStack

import httpx
import pytest

from tests.deadlines import eventually, turns
from tests.integration.api.running import RunningApi, running_api
from tests.integration.api.scripted_host import NUMBER, ScriptedHost
from wa_api.access import shared_lookups
from wa_api.access.shared_lookups import SharedLookups
from wa_api.settings import Settings
from wa_contracts.internal.commands import Command, SendMessage

TEXT = {"to": NUMBER, "type": "text", "message": "Hello"}


async def test_requests_that_wait(api: RunningApi, host: ScriptedHost, settings: Settings) -> None:
    few = settings.model_copy(update={"session_wait_limit": 2})
    session, other = await api.new_session(host), await api.new_session(host)
    waiting: list[SendMessage] = []

    async def keep(command: Command) -> None:
        assert isinstance(command, SendMessage)
        waiting.append(command)

    host.answers[SendMessage] = keep
    async with running_api(few) as strict:
        client = strict.client(session["token"])
        open_ones = [
            asyncio.create_task(client.post("/api/messages/send", json=TEXT)) for _ in range(2)
        ]
        await eventually(lambda: len(waiting) == 2, what="both wait")
        refused = await client.post("/api/messages/send", json=TEXT)
        assert (refused.status_code, refused.json()["code"]) == (429, "too_many_waits")
        assert refused.headers["retry-after"] == "1"
        host.answers.clear()
        unharmed = await strict.client(other["token"]).post("/api/messages/send", json=TEXT)
        assert unharmed.status_code == 200
        for command in waiting:
            await host.sent(command)
        assert [(await one).status_code for one in open_ones] == [200, 200]
        assert (await client.post("/api/messages/send", json=TEXT)).status_code == 200


async def test_tokens_are_looked_up_for_all_who_ask_at_once() -> None:
    begun: list[set[str]] = []
    answers = [asyncio.Event() for _ in range(3)]

    async def look_up(keys: Collection[str]) -> dict[str, int]:
        number = len(begun)
        begun.append(set(keys))
        await answers[number].wait()
        if number == 2:
            raise ConnectionError
        return {key: number for key in keys if key != "nobody's"}

    lookups = SharedLookups(look_up)

    async def ask(*keys: str) -> list[asyncio.Task[int | None]]:
        tasks = [asyncio.create_task(lookups.find(key)) for key in keys]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        return tasks

    first, later = await ask("a"), await ask(*["a", "b"] * 25)
    [nobody] = await ask("nobody's")
    assert begun == [{"a"}]
    later[7].cancel()
    answers[0].set()
    assert await first[0] == 0
    await eventually(lambda: len(begun) == 2, what="the next look-up")
    assert begun[1] == {"a", "b", "nobody's"}
    last = await ask("a", "a")  # asked after it began: its answer may be older than the question
    answers[1].set()
    assert {await task for task in later if task is not later[7]} == {1}
    assert await nobody is None
    answers[2].set()
    for task in last:
        with pytest.raises(ConnectionError):
            await task
    assert begun[2:] == [{"a"}]


async def test_while_many_ask_others_can_join_the_next_look_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(shared_lookups, "LONGEST_PAUSE_SECONDS", 60)
    begun: list[set[str]] = []

    async def look_up(keys: Collection[str]) -> dict[str, int]:
        begun.append(set(keys))
        await asyncio.sleep(0.5)
        return dict.fromkeys(keys, len(begun))

    lookups = SharedLookups(look_up)
    first, *next_ones = (asyncio.create_task(lookups.find(key)) for key in "aaa")
    assert await first == 1
    late = asyncio.create_task(lookups.find("b"))
    assert [await one for one in (*next_ones, late)] == [2, 2, 2]
    assert begun == [{"a"}, {"a", "b"}]
    alone, one = (asyncio.create_task(lookups.find(key)) for key in "cd")
    assert await alone == 3
    await turns()
    assert begun[3:] == [{"d"}], "one that waits alone waits for nobody else"
    assert await one == 4


async def test_event_streams(api: RunningApi, host: ScriptedHost, settings: Settings) -> None:
    few = settings.model_copy(update={"session_stream_limit": 2})
    session, other = await api.new_session(host), await api.new_session(host)
    async with running_api(few) as strict, AsyncExitStack() as stack:
        client = strict.client(session["token"])

        async def opened(client: httpx.AsyncClient, on: AsyncExitStack) -> int:
            answer = await on.enter_async_context(client.stream("GET", "/api/events"))
            if answer.status_code != 200:
                assert (await answer.aread(), answer.json()["code"])[1] == "too_many_streams"
            return answer.status_code

        closed_first = await stack.enter_async_context(AsyncExitStack())
        assert await opened(client, closed_first) == 200
        assert await opened(client, stack) == 200
        assert await opened(client, stack) == 429
        assert await opened(strict.client(other["token"]), stack) == 200
        assert [await opened(strict.admin, stack) for _ in range(3)] == [200] * 3
        await closed_first.aclose()

        async def free() -> bool:
            return await opened(client, stack) == 200

        await eventually(free, what="a place is free again")


async def test_a_flood_is_slowed_down_and_the_others_are_not(
    api: RunningApi, host: ScriptedHost, settings: Settings
) -> None:
    few = settings.model_copy(update={"session_rate_per_minute": 3})
    session, other = await api.new_session(host), await api.new_session(host)
    clock = asyncio.get_running_loop().time
    async with running_api(few) as strict:
        client, calm = strict.client(session["token"]), strict.client(other["token"])
        for _ in range(3):
            assert (await client.post("/api/messages/send", json=TEXT)).status_code == 200
        began = clock()
        flood = [
            asyncio.create_task(client.post("/api/messages/send", json=TEXT)) for _ in range(27)
        ]
        malformed = [
            asyncio.create_task(client.post("/api/messages/send", content=b"{")) for _ in range(5)
        ]
        assert (await calm.post("/api/messages/send", json=TEXT)).status_code == 200
        answers = [await one for one in (*flood, *malformed)]
        statuses = [answer.status_code for answer in answers]
        assert statuses.count(429) == 32
        assert clock() - began >= 0.5
        late = next(answer for answer in answers if answer.status_code == 429)
        assert late.json()["code"] == "rate_limited"
        assert 1 <= int(late.headers["retry-after"]) <= 60
        assert len(host.commands(SendMessage)) <= 4
