"""What is done to a message after its send, on the real engine: edit, deletion, marks, typing."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from tests.deadlines import eventually
from tests.system.conftest import NewRing
from tests.system.event_consumer import EventConsumer, consuming
from tests.system.linking import link
from tests.system.media_server import MediaServer
from tests.system.pictures import png
from tests.system.test_kinds_of_messages import NUMBER, RECIPIENT, Chat
from tests.whatsapp import StandIn


class Room(Chat):
    """A chat, its events, and a server of media."""

    whatsapp: StandIn
    events: EventConsumer
    media: MediaServer


@pytest.fixture(scope="module")
async def chat(new_ring: NewRing) -> AsyncIterator[Room]:
    """One linked session for the module."""
    async with StandIn.start() as whatsapp, MediaServer.start() as media:
        ring = await new_ring(
            engine="neonize",
            environment={"MEDIA_ALLOWED_HOSTS": "127.0.0.1"},
            host_environment=whatsapp.engine_environment(),
        )
        contact = whatsapp.contact(RECIPIENT)
        async with consuming(ring.broker) as events:
            room = Room(ring, await link(ring, whatsapp.phone(NUMBER)), contact)
            room.whatsapp, room.events, room.media = whatsapp, events, media
            yield room
        await ring.stop()


async def call(chat: Room, method: str, path: str, **options: Any) -> httpx.Response:
    """A request with the session's token."""
    async with chat.ring.client(chat.token) as client:
        return await client.request(method, path, **options)


async def sent(chat: Room, **body: Any) -> dict[str, Any]:
    """A message that WhatsApp acknowledged."""
    answer = await chat.send(**body)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def shown(chat: Room, key: str, field: str) -> dict[str, Any]:
    """The message's look-up, once it has this field."""

    async def look() -> dict[str, Any]:
        found: dict[str, Any] = (await call(chat, "GET", f"/api/messages/{key}")).json()
        assert found.get(field) is not None, found
        return found

    return await eventually(look, what=f"the look-up shows {field}")


async def test_an_edit_reaches_the_phone_and_the_look_up(chat: Room) -> None:
    message = await sent(chat, type="text", message="Helo")
    answer = await call(chat, "PATCH", f"/api/messages/{message['id']}", json={"message": "Hello"})
    assert answer.status_code == 200, answer.text
    told = answer.json()
    assert (told["success"], told["status"]) == (True, "sent")
    assert told["id"] != message["id"]
    got = (await chat.message(told["messageId"])).proto.editedMessage.message.protocolMessage
    assert got.type == got.MESSAGE_EDIT
    assert (got.key.ID, got.key.fromMe) == (message["messageId"], True)
    assert got.editedMessage.conversation == "Hello"
    edited = await shown(chat, message["id"], "editedAt")
    assert edited["status"] in {"sent", "delivered"}
    own = await shown(chat, told["id"], "sentAt")
    assert (own["type"], own["targetId"]) == ("edit", message["id"])


async def test_an_edit_and_a_deletion_are_events_without_their_text(chat: Room) -> None:
    message = await sent(chat, type="text", message="secret one")
    key = message["messageId"]
    assert (
        await call(chat, "PATCH", f"/api/messages/{key}", json={"message": "secret two"})
    ).status_code == 200
    assert (await call(chat, "POST", f"/api/messages/{key}/revoke")).status_code == 200
    await shown(chat, key, "revokedAt")
    edited, revoked = [
        (await chat.events.wait_for(chat.id, kind))[-1]["data"]
        for kind in ("message.edited", "message.revoked")
    ]
    for data in (edited, revoked):
        assert (data["id"], data["messageId"]) == (message["id"], key)
        assert (data["fromMe"], data["senderNumber"]) == (True, NUMBER)
    assert edited["text"] is None
    assert not [one for one in chat.events.raw if b"secret" in one]


async def test_a_caption_is_edited_with_its_kind_of_media(
    chat: Room,
) -> None:
    url = chat.media.put("cat.png", png())
    message = await sent(chat, type="image", mediaUrl=url, message="A ct")
    answer = await call(chat, "PATCH", f"/api/messages/{message['id']}", json={"message": "A cat"})
    assert answer.status_code == 200, answer.text
    proto = (await chat.message(answer.json()["messageId"])).proto
    edited = proto.editedMessage.message.protocolMessage.editedMessage
    assert edited.imageMessage.caption == "A cat"
    assert not edited.imageMessage.URL


async def test_a_deletion_for_everyone(chat: Room) -> None:
    message = await sent(chat, type="text", message="not meant for you")
    answer = await call(chat, "POST", f"/api/messages/{message['id']}/revoke")
    assert answer.status_code == 200, answer.text
    got = (await chat.message(answer.json()["messageId"])).proto.protocolMessage
    assert got.type == got.REVOKE
    assert (got.key.ID, got.key.fromMe) == (message["messageId"], True)
    await shown(chat, message["id"], "revokedAt")
    for method, path, body in (
        ("PATCH", "", {"message": "again"}),
        ("POST", "/revoke", None),
    ):
        again = await call(chat, method, f"/api/messages/{message['id']}{path}", json=body)
        assert again.status_code == 409, again.text


async def test_a_repeat_with_its_key_changes_once(chat: Room) -> None:
    message = await sent(chat, type="text", message="once")
    key = {"Idempotency-Key": "edit-1"}
    path, body = f"/api/messages/{message['id']}", {"message": "only once"}
    first = await call(chat, "PATCH", path, json=body, headers=key)
    second = await call(chat, "PATCH", path, json=body, headers=key)
    assert first.status_code == second.status_code == 200, second.text
    assert first.json() == second.json()
    assert second.headers["Idempotent-Replayed"] == "true"
    other = await call(chat, "PATCH", path, json={"message": "another"}, headers=key)
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_conflict")


async def test_what_arrived_cannot_be_edited_or_deleted(chat: Room) -> None:
    theirs = await chat.incoming("mine")
    edit = await call(chat, "PATCH", f"/api/messages/{theirs['id']}", json={"message": "x"})
    assert (edit.status_code, edit.json()["code"]) == (409, "not_editable")
    revoke = await call(chat, "POST", f"/api/messages/{theirs['id']}/revoke")
    assert (revoke.status_code, revoke.json()["code"]) == (409, "not_revocable")
    unknown = await call(chat, "POST", "/api/messages/3EB0NOBODY/revoke")
    assert (unknown.status_code, unknown.json()["code"]) == (404, "message_not_found")
