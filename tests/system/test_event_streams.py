"""Server-Sent Events: many readers, readers that come back elsewhere, filters."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

import aiohttp
import httpx
import pytest

from tests.system.conftest import NewRing
from tests.system.event_stream import EventStream, following
from tests.system.ring import Ring

READERS = 200
MESSAGES = 30
LAST = "the last one"


@dataclass(frozen=True)
class StreamedRing:
    """A ring with two apis, and two working sessions."""

    ring: Ring
    session: dict[str, Any]
    other: dict[str, Any]

    async def send(self, *references: str, session: dict[str, Any] | None = None) -> None:
        """Texts with these references, one after the other."""
        for reference in references:
            answer = await self.ring.send(
                (session or self.session)["token"],
                api=1,
                to="919876543210",
                type="text",
                message="hello",
                reference=reference,
            )
            assert answer.status_code == 200, answer.text

    async def reads(self) -> float:
        """How often the first api has read the feed."""
        port = self.ring.processes["api-0"].orders.env["METRICS_PORT"]
        async with httpx.AsyncClient(trust_env=False) as client:
            text = (await client.get(f"http://127.0.0.1:{port}/metrics")).text
        [line] = [one for one in text.splitlines() if one.startswith("wa_api_feed_reads_total ")]
        return float(line.split()[1])


@pytest.fixture(scope="module")
async def streamed(new_ring: NewRing) -> AsyncIterator[StreamedRing]:
    """One ring for the module."""
    ring = await new_ring(
        apis=2,
        environment={"SIMULATED_LINKS_AFTER": "0.1", "SESSION_RATE_PER_MINUTE": "10000"},
    )
    sessions = [await ring.create_session(name) for name in ("one", "other")]
    for session in sessions:
        await ring.wait_for_status(session["sessionId"], "working")
    yield StreamedRing(ring, *sessions)
    await ring.stop()


async def until(stream: EventStream, reference: str) -> list[dict[str, Any]]:
    """The events up to the one that says that the message with this reference was sent."""
    events = []
    async with asyncio.timeout(60):
        while True:
            events.append(await stream.next())
            data = events[-1]["data"]
            if events[-1]["type"] == "message.sent" and data["reference"] == reference:
                return events


async def the_rest(stream: EventStream) -> list[dict[str, Any]]:
    """The events until the stream breaks off."""
    events: list[dict[str, Any]] = []
    while True:
        try:
            events.append(await stream.next())
        except (EOFError, aiohttp.ClientError):
            return events


async def test_two_hundred_readers_get_everything_from_one_read_a_notification(
    streamed: StreamedRing,
) -> None:
    url, key = streamed.ring.url(), streamed.ring.admin_key
    async with AsyncExitStack() as stack:
        streams = [await stack.enter_async_context(following(url, key))]
        begun = streams[0].last_id  # events of earlier tests may still come
        for _ in range(1, READERS):
            one = following(url, key, last_id=begun)
            streams.append(await stack.enter_async_context(one))
        before = await streamed.reads()
        sending = asyncio.create_task(streamed.send(*(f"many {n}" for n in range(MESSAGES)), LAST))
        heard = await asyncio.gather(*(until(stream, LAST) for stream in streams))
        await sending
        reads = await streamed.reads() - before
    ids = [[event["id"] for event in events] for events in heard]
    assert len(ids[0]) >= 2 * MESSAGES
    assert all(one == ids[0] for one in ids)
    # A read belongs to a notification, of which an event has one at most; not to a reader.
    assert reads <= 4 * MESSAGES


async def test_a_reader_that_comes_back_elsewhere_misses_and_repeats_nothing(
    streamed: StreamedRing,
) -> None:
    token, references = streamed.session["token"], [f"resumed {n}" for n in range(60)]
    async with following(streamed.ring.url(1), token) as steady:
        sending = asyncio.create_task(streamed.send(*references, "resumed, end"))
        heard, last_id, number = [], steady.last_id, 0
        done = False
        while not done:
            number += 1
            async with following(streamed.ring.url(number % 2), token, last_id=last_id) as stream:
                for _ in range(7):
                    event = await stream.next()
                    heard.append(event)
                    done = event["data"].get("reference") == "resumed, end" and (
                        event["type"] == "message.sent"
                    )
                    if done:
                        break
                last_id = stream.last_id
        await sending
        whole = await until(steady, "resumed, end")
    assert number > 10
    assert [event["id"] for event in heard] == [event["id"] for event in whole]
    sequences = [event["sessionSequence"] for event in heard]
    assert sequences == list(range(sequences[0], sequences[0] + len(sequences)))


async def test_a_reader_comes_back_after_its_api_was_killed(streamed: StreamedRing) -> None:
    token = streamed.session["token"]
    async with following(streamed.ring.url(1), token) as steady:
        begun = steady.last_id  # events of earlier tests may still come
        async with following(streamed.ring.url(0), token, last_id=begun) as stream:
            await streamed.send("before the kill")
            heard = await until(stream, "before the kill")
            await streamed.ring.kill("api-0")
            heard += await the_rest(stream)
        await streamed.send("while it is away")
        await streamed.ring.restart("api-0")
        async with following(streamed.ring.url(0), token, last_id=stream.last_id) as again:
            await streamed.send("after it")
            heard += await until(again, "after it")
        whole = await until(steady, "after it")
    assert [event["id"] for event in heard] == [event["id"] for event in whole]


async def test_a_position_before_everything_gives_everything(streamed: StreamedRing) -> None:
    await streamed.send("the past, end")
    async with following(streamed.ring.url(), streamed.session["token"], last_id="0") as stream:
        events = await until(stream, "the past, end")
    sequences = [event["sessionSequence"] for event in events]
    assert sequences == list(range(1, len(sequences) + 1))


async def test_a_position_that_was_never_reached_means_from_now_on(streamed: StreamedRing) -> None:
    far = str(10**17)
    async with following(streamed.ring.url(), streamed.session["token"], last_id=far) as stream:
        await streamed.send("from now on")
        assert await until(stream, "from now on")


async def test_several_types_and_patterns_choose(streamed: StreamedRing) -> None:
    url, key = streamed.ring.url(), streamed.ring.admin_key
    async with (
        following(url, key, type=["message.queued", "message.sent"]) as two,
        following(url, key, type="message.*", sessionId=streamed.other["sessionId"]) as pattern,
        following(url, key, type="session.*") as sessions,
    ):
        await streamed.send("chosen", session=streamed.other)
        assert [e["type"] for e in await until(two, "chosen")] == ["message.queued", "message.sent"]
        events = await until(pattern, "chosen")
        assert {event["sessionId"] for event in events} == {streamed.other["sessionId"]}
        created = await streamed.ring.create_session("a third")
        event = await sessions.next()
        assert (event["type"], event["sessionId"]) == ("session.created", created["sessionId"])
    client = streamed.ring.client(key)
    answer = await client.get("/api/events", params={"type": "message.vanished"})
    assert answer.status_code == 400
    assert "message.sent" in answer.json()["error"]


async def test_a_sessions_token_shows_its_own_events_alone(streamed: StreamedRing) -> None:
    async with following(streamed.ring.url(), streamed.other["token"], last_id="0") as stream:
        await streamed.send("not for the other")
        await streamed.send("for the other", session=streamed.other)
        events = await until(stream, "for the other")
    assert {event["sessionId"] for event in events} == {streamed.other["sessionId"]}
    params = {"sessionId": streamed.session["sessionId"]}
    answer = await streamed.ring.client(streamed.other["token"]).get("/api/events", params=params)
    assert answer.status_code == 400


@pytest.mark.parametrize("way", ["rotate", "delete"])
async def test_a_stream_ends_with_the_token_that_opened_it(
    streamed: StreamedRing, way: str
) -> None:
    session = await streamed.ring.create_session("leaked")
    path = f"/api/sessions/{session['sessionId']}"
    async with following(streamed.ring.url(), session["token"]) as stream:
        if way == "rotate":
            answer = await streamed.ring.admin.post(f"{path}/token")
        else:
            answer = await streamed.ring.admin.delete(path)
        assert answer.is_success, answer.text
        async with asyncio.timeout(30):  # 15 s are promised
            with pytest.raises(EOFError):
                await until(stream, "never sent")
