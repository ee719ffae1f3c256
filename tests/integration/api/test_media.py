"""The api's side of incoming media: an owner that stops, a client that does not read, odd names."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import aio_pika
import httpx
import pytest

from tests.deadlines import eventually
from tests.integration.api.running import RunningApi
from tests.integration.api.scripted_host import ScriptedHost
from wa_api.messages import media_downloads
from wa_contracts.ids import MessageId, new_id
from wa_contracts.internal.commands import FetchMedia
from wa_contracts.internal.media_transfer import CHUNK_BYTES, OFFSET
from wa_contracts.internal.replies import MediaOffer
from wa_contracts.message_events import MessageReceived

PIECE = bytes(range(256)) * (CHUNK_BYTES // 256)


class Owner:
    """Hands pieces over as it is told; `refused` once the queue took no more."""

    def __init__(self, channel: aio_pika.abc.AbstractChannel, host: ScriptedHost) -> None:
        self._channel = channel
        self._host = host
        self.offer = MediaOffer(mime_type="image/png", file_name=None, size=2 * CHUNK_BYTES)
        self.pieces = 2
        self.handed_over = 0
        self.refused = asyncio.Event()
        self.gone = asyncio.Event()

    async def answer(self, command: FetchMedia) -> None:
        """Offer, then send."""
        await self._host.reply(command, media=self.offer)
        for number in range(self.pieces):
            message = aio_pika.Message(PIECE, headers={OFFSET: number * CHUNK_BYTES})
            while not await self._publish(message, command.queue):
                if self.gone.is_set():
                    return
                await asyncio.sleep(0.02)
            self.handed_over += 1

    async def _publish(self, message: aio_pika.Message, queue: str) -> bool:
        try:
            await self._channel.default_exchange.publish(message, queue)
        except aio_pika.exceptions.PublishError:
            self.gone.set()
            return False
        except aio_pika.exceptions.DeliveryError:
            self.refused.set()
            return False
        return True


@pytest.fixture
async def owner(host: ScriptedHost, broker: str) -> AsyncIterator[Owner]:
    """A host that is asked for media."""
    async with await aio_pika.connect(broker) as connection:
        made = Owner(await connection.channel(on_return_raises=True), host)
        host.answers[FetchMedia] = made.answer
        yield made


@pytest.fixture
async def path(api: RunningApi, host: ScriptedHost) -> str:
    """Where the media of an image that arrived is."""
    session = await api.new_session(host)
    message_id = MessageId(new_id())
    await host.happen(UUID(session["sessionId"]), _received(message_id))
    await eventually(lambda: _is_shown(api, str(message_id)), what="the message is shown")
    return f"/api/messages/{message_id}/media"


def _received(message_id: MessageId) -> MessageReceived:
    return MessageReceived(
        id=message_id,
        message_id="3A00",
        chat="1@lid",
        sender="1@lid",
        type="image",
        media_mime_type="image/png",
        received_at=datetime.now(UTC),
    )


async def _is_shown(api: RunningApi, message_id: str) -> bool:
    answer = await api.admin.get(f"/api/messages/{message_id}")
    return answer.status_code == 200


async def test_pieces_become_one_answer(api: RunningApi, owner: Owner, path: str) -> None:
    answer = await api.admin.get(path)
    assert answer.status_code == 200, answer.text
    assert answer.content == PIECE * 2


async def test_an_owner_that_stops_in_the_middle_ends_the_answer_as_broken(
    api: RunningApi, owner: Owner, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(media_downloads, "PIECE_SECONDS", 0.3)
    owner.pieces = 1
    with pytest.raises(httpx.RemoteProtocolError):
        await api.admin.get(path)
    owner.pieces = 2
    assert (await api.admin.get(path)).content == PIECE * 2


async def test_a_client_that_does_not_read_holds_its_owner_back_and_then_gets_all(
    api: RunningApi, owner: Owner, path: str
) -> None:
    owner.pieces = 200
    owner.offer = owner.offer.model_copy(update={"size": owner.pieces * CHUNK_BYTES})
    async with api.admin.stream("GET", path) as answer:
        content = answer.aiter_raw()
        size = len(await anext(content))
        await asyncio.wait_for(owner.refused.wait(), 20)
        assert owner.handed_over < owner.pieces / 2
        async for piece in content:
            size += len(piece)
    assert size == owner.offer.size


async def test_a_client_that_leaves_stops_its_owner(
    api: RunningApi, owner: Owner, path: str
) -> None:
    owner.pieces = 200
    owner.offer = owner.offer.model_copy(update={"size": owner.pieces * CHUNK_BYTES})
    async with api.admin.stream("GET", path) as answer:
        content = answer.aiter_raw()
        await anext(content)
        await asyncio.wait_for(owner.refused.wait(), 20)
    await asyncio.wait_for(owner.gone.wait(), 10)
    assert owner.handed_over < owner.pieces


@pytest.mark.parametrize(
    ("offer", "content_type", "name"),
    [
        ({"mime_type": "audio/ogg; codecs=opus"}, "audio/ogg", None),
        ({"mime_type": "text/html\r\nX-Evil: 1"}, "application/octet-stream", None),
        ({"file_name": 'a"\r\nX-Evil: 1/../b.pdf'}, "image/png", "a___X-Evil_ 1_.._b.pdf"),
    ],
)
async def test_a_senders_words_do_no_harm(
    api: RunningApi,
    owner: Owner,
    path: str,
    *,
    offer: dict[str, Any],
    content_type: str,
    name: str | None,
) -> None:
    owner.offer = owner.offer.model_copy(update=offer)
    answer = await api.admin.get(path)
    assert answer.headers["content-type"] == content_type
    assert "x-evil" not in answer.headers
    assert answer.headers["x-content-type-options"] == "nosniff"
    if name is not None:
        assert f'filename="{name}"' in answer.headers["content-disposition"]


@pytest.mark.parametrize(
    ("code", "status"),
    [("media_gone", 410), ("media_unavailable", 500), ("session_connecting", 409)],
)
async def test_an_owners_refusal_is_passed_on(
    api: RunningApi, host: ScriptedHost, owner: Owner, path: str, *, code: str, status: int
) -> None:
    async def refuse(command: FetchMedia) -> None:
        await host.refuse(command, code)

    host.answers[FetchMedia] = refuse
    answer = await api.admin.get(path)
    assert (answer.status_code, answer.json()["code"]) == (status, code)


async def test_it_needs_a_token(api: RunningApi, path: str) -> None:
    assert (await api.anonymous.get(path)).status_code == 401
