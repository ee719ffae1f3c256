"""Everything that arrives is an event, once: through the stand-in, the real engine and the broker."""

import os
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest

from tests.deadlines import eventually
from tests.scrape import scraped
from tests.system.conftest import NewRing
from tests.system.event_consumer import EventConsumer, consuming
from tests.system.linking import link
from tests.system.ring import Ring
from tests.whatsapp import Contact, Phone, StandIn
from tests.whatsapp.protobufs import Message

NUMBER, FRIEND = "919822222222", "12345678900"


@dataclass
class LinkedRing:
    """A linked session, its phone, who writes to it, and an event consumer."""

    ring: Ring
    session_id: str
    token: str
    phone: Phone
    friend: Contact
    consumer: EventConsumer
    whatsapp: StandIn

    async def event(self, type_: str, whatsapp_id: str) -> dict[str, Any]:
        """The data of the event about the message with this id, which has come once."""

        def found() -> list[dict[str, Any]]:
            return [
                one["data"]
                for one in self.consumer.of(self.session_id)
                if one["type"] == type_ and one["data"].get("messageId") == whatsapp_id
            ]

        [data] = await eventually(found, what=f"{type_} of {whatsapp_id}")
        return data

    async def next_after(self, before: int, type_: str) -> dict[str, Any]:
        """The data of the only event of this type after so many."""

        def found() -> list[dict[str, Any]]:
            later = self.consumer.of(self.session_id)[before:]
            return [one["data"] for one in later if one["type"] == type_]

        [data] = await eventually(found, what=type_)
        return data

    async def received(self, message: Any, **how: Any) -> dict[str, Any]:
        """The event of a message from the friend."""
        return await self.event(
            "message.received", await self.friend.send_message(NUMBER, message, **how)
        )

    async def shown(self, key: str) -> dict[str, Any]:
        """The message in the look-ups."""

        async def there() -> dict[str, Any]:
            answer = await self.ring.admin.get(f"/api/messages/{key}")
            assert answer.status_code == 200, answer.text
            body: dict[str, Any] = answer.json()
            return body

        return await eventually(there, what="the message is shown")


@pytest.fixture(scope="module")
async def linked_ring(new_ring: NewRing) -> AsyncIterator[LinkedRing]:
    """One linked session for the module."""
    async with StandIn.start() as whatsapp:
        ring = await new_ring(engine="neonize", host_environment=whatsapp.engine_environment())
        async with consuming(ring.broker) as consumer:
            phone, friend = whatsapp.phone(NUMBER), whatsapp.contact(FRIEND)
            session = await link(ring, phone)
            yield LinkedRing(
                *(ring, session["sessionId"], session["token"], phone, friend, consumer, whatsapp)
            )
        await ring.stop()


def filled(field: str, **values: Any) -> Any:
    """A message with this one field."""
    message = Message()
    part = getattr(message, field)
    part.SetInParent()
    for name, value in values.items():
        setattr(part, name, value)
    return message


@pytest.mark.parametrize(
    ("message", "type_", "text"),
    [
        (filled("videoMessage", mimetype="video/mp4", caption="Look"), "video", "Look"),
        (filled("ptvMessage", mimetype="video/mp4"), "video_note", None),
        (filled("audioMessage", mimetype="audio/ogg", PTT=True), "voice", None),
        (filled("audioMessage", mimetype="audio/mp4"), "audio", None),
        (filled("stickerMessage", mimetype="image/webp"), "sticker", None),
        (filled("interactiveMessage"), "interactive", None),
        (filled("interactiveResponseMessage"), "interactive", None),
        (filled("buttonsMessage", contentText="Choose"), "template", "Choose"),
        (filled("listMessage", title="Menu"), "template", "Menu"),
        (filled("templateMessage"), "template", None),
        (filled("highlyStructuredMessage"), "template", None),
        (filled("orderMessage", message="2 chairs"), "order", "2 chairs"),
        (filled("productMessage"), "product", None),
        (filled("eventMessage", name="Party"), "event", "Party"),
        (filled("groupInviteMessage", groupName="Team"), "group_invite", "Team"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_each_kind_is_named(
    linked_ring: LinkedRing, message: Any, type_: str, text: str | None
) -> None:
    data = await linked_ring.received(message)
    assert (data["type"], data["text"]) == (type_, text)
    assert data["chatKind"] == "direct"


async def test_a_place(linked_ring: LinkedRing) -> None:
    for field, type_ in (("locationMessage", "location"), ("liveLocationMessage", "live_location")):
        message = filled(field, degreesLatitude=1.5, degreesLongitude=-2.25)
        data = await linked_ring.received(message)
        assert data["type"] == type_
        place = {"latitude": 1.5, "longitude": -2.25, "name": None, "address": None}
        assert data["location"] == place


async def test_contact_cards(linked_ring: LinkedRing) -> None:
    one = filled("contactMessage", displayName="Ada", vcard="BEGIN:VCARD…")
    assert (await linked_ring.received(one))["contacts"] == [
        {"name": "Ada", "vcard": "BEGIN:VCARD…"}
    ]
    several = Message()
    for name in ("Ada", "Grace"):
        several.contactsArrayMessage.contacts.add(displayName=name, vcard=f"card of {name}")
    data = await linked_ring.received(several)
    assert data["type"] == "contact"
    assert [card["name"] for card in data["contacts"]] == ["Ada", "Grace"]


@pytest.mark.parametrize(
    "field",
    [
        "pollCreationMessage",
        "pollCreationMessageV2",
        "pollCreationMessageV3",
        "pollCreationMessageV5",
    ],
)
async def test_a_poll(linked_ring: LinkedRing, field: str) -> None:
    message = filled(field, name="When?", selectableOptionsCount=1)
    for option in ("Mon", "Tue"):
        getattr(message, field).options.add(optionName=option)
    data = await linked_ring.received(message)
    assert data["type"] == "poll"
    assert data["poll"] == {"question": "When?", "options": ["Mon", "Tue"], "selectable": 1}


async def test_what_was_chosen(linked_ring: LinkedRing) -> None:
    button = filled("buttonsResponseMessage", selectedButtonID="b1", selectedDisplayText="Yes")
    data = await linked_ring.received(button)
    assert (data["type"], data["selection"]) == ("button_reply", {"id": "b1", "text": "Yes"})
    button = filled("templateButtonReplyMessage", selectedID="t1", selectedDisplayText="No")
    data = await linked_ring.received(button)
    assert (data["type"], data["selection"]) == ("button_reply", {"id": "t1", "text": "No"})
    row = filled("listResponseMessage", title="Soup")
    row.listResponseMessage.singleSelectReply.selectedRowID = "r7"
    data = await linked_ring.received(row)
    assert (data["type"], data["selection"]) == ("list_reply", {"id": "r7", "text": "Soup"})


@pytest.mark.parametrize("field", ["sendPaymentMessage", "albumMessage", "encCommentMessage"])
async def test_what_has_no_type_is_named_as_whatsapp_names_it(
    linked_ring: LinkedRing, field: str
) -> None:
    data = await linked_ring.received(filled(field))
    assert (data["type"], data["unsupported"]) == ("unsupported", field)


async def test_what_surrounds_a_text(linked_ring: LinkedRing) -> None:
    message = filled("extendedTextMessage", text="@1 hello")
    context = message.extendedTextMessage.contextInfo
    context.mentionedJID.append("123@lid")
    context.isForwarded = True
    context.expiration = 86_400
    wrapped = Message()
    wrapped.ephemeralMessage.message.CopyFrom(message)
    data = await linked_ring.received(wrapped)
    assert (data["type"], data["text"]) == ("text", "@1 hello")
    assert data["mentions"] == ["123@lid"]
    assert data["isForwarded"] is True
    assert data["expiresInSeconds"] == 86_400
    assert data["senderNumber"] == FRIEND


async def test_a_group(linked_ring: LinkedRing) -> None:
    data = await linked_ring.received(Message(conversation="all"), group="120363000000000001@g.us")
    assert (data["chatKind"], data["isGroup"]) == ("group", True)


async def test_a_reaction_to_what_was_sent_and_to_what_came(linked_ring: LinkedRing) -> None:
    answer = await linked_ring.ring.send(
        linked_ring.token, to=FRIEND, type="text", message="react to me"
    )
    assert answer.status_code == 200, answer.text
    sent = answer.json()
    reaction = Message()
    reaction.reactionMessage.key.ID = sent["messageId"]
    reaction.reactionMessage.key.fromMe = False  # the friend did not write it
    reaction.reactionMessage.text = "👍"
    await linked_ring.friend.send_message(NUMBER, reaction)
    data = await linked_ring.event("message.reacted", sent["messageId"])
    assert (data["id"], data["emoji"], data["fromMe"]) == (sent["id"], "👍", False)
    assert data["senderNumber"] == FRIEND

    own = await linked_ring.received(Message(conversation="theirs"))
    reaction.reactionMessage.key.ID = own["messageId"]
    reaction.reactionMessage.key.fromMe = True
    await linked_ring.friend.send_message(NUMBER, reaction)
    data = await linked_ring.event("message.reacted", own["messageId"])
    assert data["id"] == own["id"]


async def test_an_edit_and_a_deletion_show_in_the_look_ups(linked_ring: LinkedRing) -> None:
    original = await linked_ring.received(Message(conversation="frist"))
    change = Message()
    protocol = change.protocolMessage
    protocol.type = protocol.MESSAGE_EDIT
    protocol.key.ID = original["messageId"]
    protocol.key.fromMe = True
    protocol.editedMessage.conversation = "first"
    await linked_ring.friend.send_message(NUMBER, change)
    data = await linked_ring.event("message.edited", original["messageId"])
    assert (data["id"], data["text"]) == (original["id"], "first")

    change = Message()
    change.protocolMessage.type = change.protocolMessage.REVOKE
    change.protocolMessage.key.ID = original["messageId"]
    change.protocolMessage.key.fromMe = True
    await linked_ring.friend.send_message(NUMBER, change)
    data = await linked_ring.event("message.revoked", original["messageId"])
    assert data["id"] == original["id"]

    async def both() -> bool:
        shown = await linked_ring.shown(original["id"])
        return shown["editedAt"] is not None and shown["revokedAt"] is not None

    await eventually(both, what="both times are shown")


async def test_votes_in_a_poll_that_was_sent(linked_ring: LinkedRing) -> None:
    friend = linked_ring.friend
    poll = {"question": "When?", "options": ["Monday", "Tuesday", "Friday"], "selectable": 3}
    answer = await linked_ring.ring.send(linked_ring.token, to=FRIEND, type="poll", poll=poll)
    assert answer.status_code == 200, answer.text
    sent = answer.json()
    [received] = await eventually(
        lambda: [one for one in friend.inbox if one.id == sent["messageId"]],
        what="the poll arrives",
    )
    for options in (("Monday", "Friday"), (), ("Tuesday",), ("Never",)):
        before = len(linked_ring.consumer.of(linked_ring.session_id))
        await friend.vote(received, *options)
        data = await linked_ring.next_after(before, "message.voted")
        assert (data["id"], data["messageId"]) == (sent["id"], sent["messageId"])
        assert data["options"] == (None if options == ("Never",) else list(options))
        assert (data["senderNumber"], data["fromMe"]) == (FRIEND, False)


async def test_votes_in_a_poll_that_came(linked_ring: LinkedRing) -> None:
    friend, secret = linked_ring.friend, os.urandom(32)
    poll = filled("pollCreationMessage", name="Who?", selectableOptionsCount=1)
    for option in ("Ada", "Grace"):
        poll.pollCreationMessage.options.add(optionName=option)
    poll.messageContextInfo.messageSecret = secret
    data = await linked_ring.received(poll)
    before = len(linked_ring.consumer.of(linked_ring.session_id))
    await friend.vote_in_own(NUMBER, data["messageId"], secret, "Grace")
    voted = await linked_ring.next_after(before, "message.voted")
    assert (voted["id"], voted["options"]) == (data["id"], ["Grace"])


@pytest.mark.parametrize("video", [False, True], ids=["voice", "video"])
async def test_a_call_rings_and_ends(linked_ring: LinkedRing, video: bool) -> None:
    before = len(linked_ring.consumer.of(linked_ring.session_id))
    call_id = await linked_ring.friend.call(NUMBER, video=video)
    rings = await linked_ring.next_after(before, "call.received")
    assert (rings["callId"], rings["isVideo"], rings["isGroup"]) == (call_id, video, False)
    assert rings["caller"] == f"{linked_ring.friend.lid}@lid"
    assert rings["callerNumber"] == FRIEND
    for _ in range(2):  # WhatsApp may say it twice
        await linked_ring.friend.hang_up(NUMBER, call_id)
    ended = await linked_ring.next_after(before, "call.ended")
    assert (ended["id"], ended["reason"]) == (rings["id"], "timeout")


async def test_what_cannot_be_decrypted_is_told_and_completed(linked_ring: LinkedRing) -> None:
    """The engine asks the sender again by itself."""
    whatsapp_id = await linked_ring.friend.send_garbled(NUMBER, Message(conversation="again"))

    def told() -> list[dict[str, Any]]:
        return [
            one["data"]
            for one in linked_ring.consumer.of(linked_ring.session_id)
            if one["data"].get("messageId") == whatsapp_id
        ]

    await eventually(lambda: len(told()) == 2, what="both events")
    first, second = told()
    assert (first["type"], first["text"]) == ("undecryptable", None)
    assert (second["type"], second["text"]) == ("text", "again")
    assert first["id"] == second["id"]

    async def completed() -> bool:
        return bool((await linked_ring.shown(whatsapp_id))["type"] == "text")

    await eventually(completed, what="the look-up shows the content")
    await linked_ring.received(Message(conversation="the next one"))
    assert len(told()) == 2


async def test_only_its_sender_edits_and_only_an_admin_deletes_too(linked_ring: LinkedRing) -> None:
    whatsapp, (admin, forger) = (
        linked_ring.whatsapp,
        (linked_ring.whatsapp.contact(str(12_345_600_000 + one)) for one in range(2)),
    )
    members = (NUMBER, FRIEND, admin.number, forger.number)
    group = whatsapp.group("A group", *members, admins=(admin.number,))
    original = await linked_ring.received(Message(conversation="mine"), group=group)

    def change(kind: str) -> Any:
        message = Message()
        part = message.protocolMessage
        part.type = getattr(part, kind)
        part.key.ID, part.key.remoteJID = original["messageId"], group
        part.key.participant = f"{linked_ring.friend.lid}@lid"
        part.editedMessage.conversation = "forged"
        return message

    for kind, who in (("MESSAGE_EDIT", forger), ("REVOKE", forger), ("MESSAGE_EDIT", admin)):
        stanza = await who.send_message(NUMBER, change(kind), group=group)
        told = await linked_ring.event("message.received", stanza)
        assert told["type"] == "unsupported"
        assert told["unsupported"].endswith("somebody else's message")
    shown = await linked_ring.shown(original["id"])
    assert (shown["editedAt"], shown["revokedAt"]) == (None, None)
    await linked_ring.friend.send_message(NUMBER, change("MESSAGE_EDIT"), group=group)
    await linked_ring.event("message.edited", original["messageId"])
    await admin.send_message(NUMBER, change("REVOKE"), group=group)
    deleted = await linked_ring.event("message.revoked", original["messageId"])
    assert deleted["id"] == original["id"]


async def test_what_the_owner_writes_elsewhere_is_echoed(linked_ring: LinkedRing) -> None:
    whatsapp_id = await linked_ring.phone.write(FRIEND, Message(conversation="from my phone"))
    data = await linked_ring.event("message.echoed", whatsapp_id)
    assert (data["type"], data["text"]) == ("text", "from my phone")
    assert data["chat"] == f"{linked_ring.friend.lid}@lid"
    shown = await linked_ring.shown(whatsapp_id)
    assert (shown["direction"], shown["status"]) == ("outgoing", "sent")


async def test_traffic_between_devices_is_no_event(linked_ring: LinkedRing) -> None:
    before = len(linked_ring.consumer.of(linked_ring.session_id))
    await linked_ring.friend.send_message(NUMBER, filled("senderKeyDistributionMessage"))
    silent = Message()
    silent.protocolMessage.type = silent.protocolMessage.EPHEMERAL_SETTING
    await linked_ring.friend.send_message(NUMBER, silent)
    await linked_ring.received(Message(conversation="after it"))
    new = linked_ring.consumer.of(linked_ring.session_id)[before:]
    assert [one["type"] for one in new] == ["message.received"]


async def test_a_story_is_counted_and_no_event(linked_ring: LinkedRing) -> None:
    story = await linked_ring.friend.send_message(
        NUMBER, Message(conversation="a story"), group="status@broadcast"
    )

    async def counted() -> bool:
        scrape = await scraped(linked_ring.ring, "host-0")
        return scrape.value("wa_incoming_messages_total", chat_kind="story") == 1

    await eventually(counted, what="the story is counted")
    await linked_ring.received(Message(conversation="after the story"))
    told = [one["data"].get("messageId") for one in linked_ring.consumer.of(linked_ring.session_id)]
    assert story not in told
