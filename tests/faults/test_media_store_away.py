"""The media store goes away under load: messages with an upload wait or end with their code, texts go on.

`S3_AWAY_SECONDS=60 make test ARGS="-k store_away"` keeps it away for that long; it is shorter by
default.
"""

import asyncio
import os
import time
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from tests.deadlines import eventually
from tests.s3.server import BUCKET, S3Server, s3_server
from tests.system.event_consumer import EventConsumer, consuming
from tests.system.ring import Ring
from tests.system.rings import NewRing

AWAY_SECONDS = float(os.environ.get("S3_AWAY_SECONDS", "8"))
WRITERS = 3
FILES = 6
ASYNC = {"Prefer": "respond-async"}
LOCAL = {"to": "447911190005", "type": "document", "mediaUrl": "local.pdf"}
"""Its recipient, as the simulated engine has them, answers with the file."""
PICTURE = os.urandom(200_000)


@pytest.fixture(scope="module")
async def s3(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[S3Server]:
    async with s3_server(tmp_path_factory.mktemp("s3")) as server:
        yield server


@pytest.fixture
async def ring(new_ring: NewRing, s3: S3Server) -> Ring:
    """A ring whose media store is the S3 server."""
    return await new_ring(
        environment={
            **s3.environment,
            "MEDIA_STORE_URL": f"s3://{BUCKET}/media",
            "SIMULATED_LINKS_AFTER": "0.1",
            "SESSION_RATE_PER_MINUTE": "100000",
        }
    )


class Load:
    """Writers of texts, one after the other, each to a chat of its own."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client
        self.answers: list[tuple[float, int]] = []
        """When each came, and its status."""

    async def write(self, number: int) -> None:
        """Until cancelled."""
        body = {"to": f"9198765{number + 100:05}", "type": "text", "message": "hello"}
        while True:
            answer = await self._client.post("/api/messages/send", json=body)
            self.answers.append((time.monotonic(), answer.status_code))

    def since(self, began: float) -> int:
        """How many texts were sent since then."""
        return sum(at > began for at, _ in self.answers)


async def test_texts_go_on_while_the_store_is_away(ring: Ring, s3: S3Server) -> None:
    session = await ring.create_session()
    await ring.wait_for_status(session["sessionId"], "working")
    kept = await ring.admin.patch(f"/api/sessions/{session['sessionId']}", json={"keepMedia": True})
    assert kept.status_code == 200, kept.text
    (ring.directory / "media").mkdir()
    (ring.directory / "media" / "local.pdf").write_bytes(b"%PDF-1.7 " + PICTURE)
    client = ring.client(session["token"])
    uploaded = await client.post("/api/media", content=PICTURE)
    assert uploaded.status_code == 201, uploaded.text
    upload: dict[str, Any] = {"type": "document", "mediaId": uploaded.json()["mediaId"]}
    load = Load(client)

    async def send(number: int, **headers: str) -> str:
        body = {"to": f"4479111{number + 100:05}", **upload}
        answer = await client.post("/api/messages/send", json=body, headers={**ASYNC, **headers})
        assert answer.status_code == 202, answer.text
        return str(answer.json()["id"])

    async def code_of(message_id: str) -> str:
        message = (await client.get(f"/api/messages/{message_id}")).json()
        return str(
            (message.get("waiting") or message["error"] or {"code": message["status"]})["code"]
        )

    async with consuming(ring.broker) as consumer:
        writers = [asyncio.create_task(load.write(number)) for number in range(WRITERS)]
        await eventually(lambda: load.answers, what="texts are sent")
        await s3.stop()
        began = time.monotonic()
        answered = await client.post("/api/messages/send", json=LOCAL)
        assert answered.status_code == 200, answered.text
        waiting = [await send(number) for number in range(FILES)]
        brief = await send(FILES, **{"X-Expires-In": "2"})
        for message_id in waiting:

            async def waits(message_id: str = message_id) -> bool:
                return await code_of(message_id) == "media_unavailable"

            await eventually(waits, what="a message with an upload waits with its code")
        refused = await client.post("/api/media", content=PICTURE)
        assert (refused.status_code, refused.json()["code"]) == (503, "media_store_unavailable")
        assert int(refused.headers["retry-after"]) > 0
        await ring.wait_for_message(brief, "failed")
        assert await code_of(brief) == "expired"
        before = load.since(began)
        over = began + AWAY_SECONDS
        await eventually(
            lambda: time.monotonic() > over, within=AWAY_SECONDS + 60, what="the outage is over"
        )
        await eventually(lambda: load.since(began) > before, what="texts go on")
        await s3.start()
        for message_id in waiting:
            await ring.wait_for_message(message_id, ("sent", "delivered"), timeout=300)
        await eventually(
            lambda: [one for one in s3.files() if one.endswith(".json")],
            within=300,
            what="media that arrived meanwhile is kept",
        )
        for writer in writers:
            writer.cancel()
        await asyncio.wait(writers)
        assert {status for _, status in load.answers} == {200}
        await _each_once(consumer, session["sessionId"], waiting)
    again = await client.post("/api/media", content=PICTURE)
    assert again.status_code == 201, again.text


async def _each_once(consumer: EventConsumer, session_id: str, ids: list[str]) -> None:
    """Each message was sent, and none twice."""

    def sent() -> Counter[str]:
        return Counter(one["data"]["id"] for one in consumer.of(session_id, "message.sent"))

    await eventually(lambda: set(ids) <= sent().keys(), what="each is told as sent")
    assert {number for id_, number in sent().items() if id_ in ids} == {1}
