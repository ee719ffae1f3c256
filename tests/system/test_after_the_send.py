"""What is done beside sends, on the real engine: edits, deletions, marks, typing, questions."""

import io
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from PIL import Image

from tests.deadlines import eventually
from tests.system.conftest import NewRing
from tests.system.event_consumer import EventConsumer, consuming
from tests.system.linking import link
from tests.system.media_server import MediaServer
from tests.system.pictures import png
from tests.system.test_kinds_of_messages import NUMBER, RECIPIENT, Chat
from tests.whatsapp import StandIn
from tests.whatsapp.refusals import NOT_FOUND


class Room(Chat):
    """A chat, its events, and a server of media."""

    whatsapp: StandIn
    events: EventConsumer
    media: MediaServer

    async def told(self, kind: str, message_id: str) -> dict[str, Any]:
        """The data of the event of this type about the message."""

        def found() -> list[dict[str, Any]]:
            data = [one["data"] for one in self.events.of(self.id, kind)]
            return [one for one in data if one["id"] == message_id]

        [data] = await eventually(found, what=f"{kind} is published")
        return data


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
        await chat.told(kind, message["id"]) for kind in ("message.edited", "message.revoked")
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


async def test_a_link_has_a_preview(chat: Room) -> None:
    chat.media.put("preview.png", png())
    page = (
        b'<html><head><title>Plain</title><meta property="og:title" content="A &amp; B">'
        b'<meta name="description" content="What it is"><meta property="og:image"'
        b' content="preview.png"></head><body>text</body></html>'
    )
    url = chat.media.put("page.html", page)
    text = f"Look at {url}, please"
    message = await sent(chat, type="text", message=text, linkPreview=True)
    got = (await chat.message(message["messageId"])).proto.extendedTextMessage
    assert (got.text, got.matchedText) == (text, url)
    assert (got.title, got.description) == ("A & B", "What it is")
    assert Image.open(io.BytesIO(got.JPEGThumbnail)).format == "JPEG"


@pytest.mark.parametrize(
    "link", ["http://10.0.0.1/private", "http://127.0.0.1:1/closed", "https://nowhere.invalid/"]
)
async def test_a_link_without_a_preview_goes_out_as_it_is(chat: Room, link: str) -> None:
    message = await sent(chat, type="text", message=f"see {link}", linkPreview=True)
    got = await chat.message(message["messageId"])
    assert got.text == f"see {link}"
    assert not got.proto.extendedTextMessage.title


async def test_an_image_is_shown_once(chat: Room) -> None:
    url = chat.media.put("once.png", png())
    message = await sent(chat, type="image", mediaUrl=url, message="Look", viewOnce=True)
    got = await chat.message(message["messageId"])
    image = got.proto.viewOnceMessageV2.message.imageMessage
    assert (image.viewOnce, image.caption) == (True, "Look")
    assert got.media == png()


async def test_everybody_in_a_group_is_mentioned(chat: Room) -> None:
    """The group's members are asked for when the message goes out."""
    alone = await chat.send(type="text", message="all?", mentions=["all"])
    assert (alone.status_code, alone.json()["details"][0]["field"]) == (400, "mentions")
    team = chat.whatsapp.group("Everybody", NUMBER, RECIPIENT)
    for _ in range(2):  # the second one without a new key
        message = await sent(chat, to=team, type="text", message="hello all", mentions=["all"])
        got = (await chat.message(message["messageId"])).proto.extendedTextMessage
        assert got.text == "hello all"
        assert list(got.contextInfo.mentionedJID) == [f"{chat.contact.lid}@lid"]


async def test_an_edit_and_a_deletion_in_a_group(chat: Room) -> None:
    team = chat.whatsapp.group("Editors", NUMBER, RECIPIENT)
    message = await sent(chat, to=team, type="text", message="Helo")
    path = f"/api/messages/{message['id']}"
    edit = await call(chat, "PATCH", path, json={"message": "Hello"})
    got = (await chat.message(edit.json()["messageId"])).proto.editedMessage.message.protocolMessage
    assert (got.key.remoteJID, got.key.ID) == (team, message["messageId"])
    revoke = await call(chat, "POST", f"{path}/revoke")
    got = (await chat.message(revoke.json()["messageId"])).proto.protocolMessage
    assert (got.key.remoteJID, got.key.fromMe) == (team, True)


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


async def test_a_read_mark_reaches_the_sender(chat: Room) -> None:
    theirs = await chat.incoming("read me")
    answer = await call(chat, "POST", f"/api/messages/{theirs['id']}/read")
    assert answer.status_code == 200, answer.text
    assert answer.json()["status"] == "read"
    wanted = theirs["messageId"], NUMBER, "read"

    def marked() -> bool:
        told = [(one.message_id, one.sender, one.kind) for one in chat.contact.receipts]
        return wanted in told

    await eventually(marked, what="the sender sees the mark")
    ours = await sent(chat, type="text", message="ours")
    own = await call(chat, "POST", f"/api/messages/{ours['id']}/read")
    assert (own.status_code, own.json()["code"]) == (409, "not_readable")


async def test_the_chat_shows_typing(chat: Room) -> None:
    for state in ("typing", "recording", "paused"):
        body = {"state": state}
        answer = await call(chat, "POST", f"/api/chats/{RECIPIENT}/typing", json=body)
        assert answer.status_code == 200, answer.text
    shown = ["composing", "recording", "paused"]
    await eventually(lambda: chat.contact.typing == shown, what="the contact sees it")
    wrong = await call(chat, "POST", f"/api/chats/{RECIPIENT}/typing", json={"state": "asleep"})
    assert (wrong.status_code, wrong.json()["details"][0]["field"]) == (400, "state")
    nobody = await call(chat, "POST", "/api/chats/+49/typing", json={"state": "typing"})
    assert (nobody.status_code, nobody.json()["details"][0]["field"]) == (400, "to")


async def test_numbers_are_checked(chat: Room) -> None:
    numbers = [RECIPIENT, "19995550000", "not a number", RECIPIENT]
    answer = await call(chat, "POST", "/api/numbers/check", json={"numbers": numbers})
    assert answer.status_code == 200, answer.text
    found = {
        "number": RECIPIENT,
        "exists": True,
        "phoneNumber": RECIPIENT,
        "jid": f"{RECIPIENT}@s.whatsapp.net",
        "lid": f"{chat.contact.lid}@lid",
    }
    absent = {"exists": False, "phoneNumber": None, "jid": None, "lid": None}
    assert answer.json() == [
        found,
        {"number": "19995550000", **absent},
        {"number": "not a number", **absent},
        found,
    ]
    asked = len(chat.whatsapp.numbers_asked_about)
    again = await call(chat, "POST", "/api/numbers/check", json={"numbers": numbers})
    assert again.json() == answer.json()
    assert len(chat.whatsapp.numbers_asked_about) == asked


async def test_a_number_that_whatsapp_calls_malformed_does_not_exist(chat: Room) -> None:
    chat.whatsapp.refusals.malformed.add("15550001234")
    answer = await call(chat, "POST", "/api/numbers/check", json={"numbers": ["15550001234"]})
    assert [one["exists"] for one in answer.json()] == [False]


async def test_groups_and_their_participants(chat: Room) -> None:
    team = chat.whatsapp.group("Team", NUMBER, RECIPIENT, admins=(RECIPIENT,))
    chat.whatsapp.group("News", NUMBER, RECIPIENT, admins=(RECIPIENT,), is_announcement=True)
    chat.whatsapp.group("Others", RECIPIENT)
    answer = await call(chat, "GET", "/api/groups")
    assert answer.status_code == 200, answer.text
    assert answer.json()["nextCursor"] is None
    listed = {one["subject"]: one for one in answer.json()["items"]}
    assert "Others" not in listed
    assert listed["Team"] == {
        "jid": team,
        "subject": "Team",
        "participantCount": 2,
        "isAnnouncement": False,
        "canSend": True,
    }
    assert (listed["News"]["isAnnouncement"], listed["News"]["canSend"]) == (True, False)
    one = (await call(chat, "GET", f"/api/groups/{team}")).json()
    assert {member["phoneNumber"]: member["isAdmin"] for member in one["participants"]} == {
        NUMBER: False,
        RECIPIENT: True,
    }
    chat.whatsapp.refusals.groups["120363000000009999"] = NOT_FOUND
    absent = await call(chat, "GET", "/api/groups/120363000000009999@g.us")
    assert (absent.status_code, absent.json()["code"]) == (404, "group_not_found")
    assert (await call(chat, "GET", "/api/groups/nonsense")).status_code == 404


async def test_the_operator_names_the_session(chat: Room) -> None:
    without = await chat.ring.admin.get("/api/groups")
    assert (without.status_code, without.json()["details"][0]["field"]) == (400, "sessionId")
    named = await chat.ring.admin.get(f"/api/groups?sessionId={chat.id}")
    assert named.status_code == 200, named.text
    body = {"numbers": [RECIPIENT], "sessionId": chat.id}
    checked = await chat.ring.admin.post("/api/numbers/check", json=body)
    assert checked.json()[0]["exists"] is True


async def test_too_many_questions_get_a_time_to_wait(chat: Room) -> None:
    answers = [
        await call(
            chat,
            "POST",
            "/api/numbers/check",
            json={"numbers": [str(15_550_000_000 + batch * 50 + n) for n in range(50)]},
        )
        for batch in range(3)
    ]
    refused = answers[-1]
    assert (refused.status_code, refused.json()["code"]) == (429, "rate_limited")
    assert int(refused.headers["Retry-After"]) > 0


async def test_a_session_that_does_not_work_asks_nothing(chat: Room) -> None:
    await chat.ring.admin.post(f"/api/sessions/{chat.id}/stop")
    await chat.ring.wait_for_status(chat.id, "stopped")
    for method, path, body in (
        ("POST", "/api/numbers/check", {"numbers": [RECIPIENT]}),
        ("GET", "/api/groups", None),
        ("POST", f"/api/chats/{RECIPIENT}/typing", {"state": "typing"}),
    ):
        answer = await call(chat, method, path, json=body)
        assert (answer.status_code, answer.json()["code"]) == (409, "session_stopped")
