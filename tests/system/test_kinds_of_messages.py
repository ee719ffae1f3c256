"""Messages that are no file, on the real engine: what the recipient's phone decrypts, field by field."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from tests.deadlines import eventually
from tests.system.conftest import NewRing
from tests.system.linking import link
from tests.system.ring import Ring
from tests.whatsapp import Contact, StandIn

NUMBER, RECIPIENT = "919811111111", "12345678900"
GUEST = "447911123456"


class Chat:
    """A linked session and the contact that it writes to."""

    def __init__(self, ring: Ring, session: dict[str, Any], contact: Contact) -> None:
        self.ring = ring
        self.token = str(session["token"])
        self.id = str(session["sessionId"])
        self.contact = contact

    async def send(self, **body: Any) -> httpx.Response:
        """A message to the contact."""
        return await self.ring.send(self.token, **{"to": RECIPIENT, **body})

    async def received(self, **body: Any) -> Any:
        """Send a message, and return what the contact's phone decrypts."""
        answer = await self.send(**body)
        assert answer.status_code == 200, answer.text
        return (await self.message(answer.json()["messageId"])).proto

    async def message(self, whatsapp_id: str) -> Any:
        """The message with this id, when the contact has it."""

        def arrived() -> Any:
            return next((one for one in self.contact.inbox if one.id == whatsapp_id), None)

        return await eventually(arrived, what="the contact gets the message")

    async def incoming(self, text: str) -> dict[str, Any]:
        """A text from the contact, as the look-ups show it."""
        whatsapp_id = await self.contact.send_text(NUMBER, text)

        async def shown() -> dict[str, Any]:
            answer = await self.ring.admin.get(f"/api/messages/{whatsapp_id}")
            assert answer.status_code == 200, answer.text
            found: dict[str, Any] = answer.json()
            return found

        return await eventually(shown, what="the text is shown")


@pytest.fixture(scope="module")
async def chat(new_ring: NewRing) -> AsyncIterator[Chat]:
    """One linked session for the module."""
    async with StandIn.start() as whatsapp:
        ring = await new_ring(engine="neonize", host_environment=whatsapp.engine_environment())
        contact = whatsapp.contact(RECIPIENT)
        session = await link(ring, whatsapp.phone(NUMBER))
        yield Chat(ring, session, contact)
        await ring.stop()


async def test_a_location(chat: Chat) -> None:
    place = {"latitude": 52.5163, "longitude": 13.3777, "name": "Gate", "address": "Berlin"}
    got = (await chat.received(type="location", location=place)).locationMessage
    assert (got.degreesLatitude, got.degreesLongitude) == (52.5163, 13.3777)
    assert (got.name, got.address) == ("Gate", "Berlin")


async def test_one_contact_and_several(chat: Chat) -> None:
    ada = {"name": "Ada; Lovelace", "phoneNumber": GUEST, "organization": "Engines, Ltd"}
    card = (await chat.received(type="contact", contacts=[ada])).contactMessage
    assert card.displayName == "Ada; Lovelace"
    assert card.vcard.splitlines() == [
        "BEGIN:VCARD",
        "VERSION:3.0",
        r"N:;Ada\; Lovelace;;;",
        r"FN:Ada\; Lovelace",
        r"ORG:Engines\, Ltd;",
        f"TEL;type=CELL;type=VOICE;waid={GUEST}:+{GUEST}",
        "END:VCARD",
    ]
    own = "BEGIN:VCARD\nVERSION:3.0\nFN:Grace\nTEL:+1\nEND:VCARD"
    several = await chat.received(type="contact", contacts=[ada, {"vcard": own}])
    got = several.contactsArrayMessage
    assert [one.displayName for one in got.contacts] == ["Ada; Lovelace", "Grace"]
    assert got.contacts[1].vcard == own


@pytest.mark.parametrize(("selectable", "counted"), [(1, 1), (2, 2), (3, 0)])
async def test_a_poll(chat: Chat, selectable: int, counted: int) -> None:
    """Where all options may be chosen, WhatsApp counts 0."""
    poll = {"question": "When?", "options": ["Mon", "Tue", "Wed"], "selectable": selectable}
    message = await chat.received(type="poll", poll=poll)
    got = message.pollCreationMessage
    assert got.name == "When?"
    assert [one.optionName for one in got.options] == ["Mon", "Tue", "Wed"]
    assert got.selectableOptionsCount == counted
    assert len(message.messageContextInfo.messageSecret) == 32


async def test_a_reaction_to_what_came_and_to_what_was_sent(chat: Chat) -> None:
    theirs = await chat.incoming("react to me")
    got = (
        await chat.received(type="reaction", reaction={"messageId": theirs["id"], "emoji": "👍"})
    ).reactionMessage
    assert (got.text, got.key.ID, got.key.fromMe) == ("👍", theirs["messageId"], False)
    assert got.key.remoteJID.partition("@")[0] in {RECIPIENT, chat.contact.lid}
    ours = (await chat.send(type="text", message="mine")).json()
    reaction = {"messageId": ours["messageId"], "emoji": ""}
    got = (await chat.received(type="reaction", reaction=reaction)).reactionMessage
    assert (got.text, got.key.ID, got.key.fromMe) == ("", ours["messageId"], True)


async def test_a_reply_quotes_what_came_and_what_was_sent(chat: Chat) -> None:
    theirs = await chat.incoming("What do you say?")
    got = (
        await chat.received(type="text", message="Yes.", replyTo=theirs["messageId"])
    ).extendedTextMessage
    assert got.text == "Yes."
    assert got.contextInfo.stanzaID == theirs["messageId"]
    assert got.contextInfo.participant == f"{chat.contact.lid}@lid"
    assert got.contextInfo.quotedMessage.conversation == "What do you say?"

    ours = (await chat.send(type="text", message="Said by us")).json()
    got = (
        await chat.received(type="text", message="And again.", replyTo=ours["id"])
    ).extendedTextMessage
    assert got.contextInfo.stanzaID == ours["messageId"]
    assert got.contextInfo.participant == f"{NUMBER}@s.whatsapp.net"
    assert got.contextInfo.quotedMessage.conversation == "Said by us"


async def test_a_reply_to_what_only_the_client_knows(chat: Chat) -> None:
    quoted = {"messageId": "3A00FF", "sender": GUEST, "text": "long ago"}
    place = {"latitude": -1.5, "longitude": 179.0}
    got = (await chat.received(type="location", location=place, replyTo=quoted)).locationMessage
    assert got.contextInfo.stanzaID == "3A00FF"
    assert got.contextInfo.participant == f"{GUEST}@s.whatsapp.net"
    assert got.contextInfo.quotedMessage.conversation == "long ago"


async def test_mentions_need_not_stand_in_the_text(chat: Chat) -> None:
    got = (
        await chat.received(type="text", message="you two", mentions=[GUEST, "123456789@lid"])
    ).extendedTextMessage
    assert got.text == "you two"
    assert list(got.contextInfo.mentionedJID) == [f"{GUEST}@s.whatsapp.net", "123456789@lid"]


@pytest.mark.parametrize(
    "body",
    [
        {"type": "text", "message": "x", "replyTo": "3EB0NOBODY"},
        {"type": "reaction", "reaction": {"messageId": "3EB0NOBODY", "emoji": "👍"}},
    ],
)
async def test_an_unknown_message_cannot_be_answered(chat: Chat, body: dict[str, Any]) -> None:
    before = len(chat.contact.inbox)
    answer = await chat.send(**body)
    assert (answer.status_code, answer.json()["code"]) == (404, "message_not_found"), answer.text
    assert (await chat.send(type="text", message="still works")).status_code == 200
    await eventually(lambda: len(chat.contact.inbox) > before, what="the text arrives")
    assert [one.text for one in chat.contact.inbox[before:]] == ["still works"]


async def test_what_waits_for_the_session_goes_out_whole(chat: Chat) -> None:
    """Its parts are read from the store when it is sent."""
    poll = {"question": "Again?", "options": ["yes", "no"]}
    await chat.ring.admin.post(f"/api/sessions/{chat.id}/stop")
    await chat.ring.wait_for_status(chat.id, "stopped")
    answer = await chat.send(type="poll", poll=poll, headers={"Prefer": "respond-async"})
    assert answer.status_code == 202, answer.text
    await chat.ring.admin.post(f"/api/sessions/{chat.id}/restart")
    message = await chat.ring.wait_for_message(answer.json()["id"], ["sent", "delivered"])
    got = (await chat.message(message["messageId"])).proto.pollCreationMessage
    assert [one.optionName for one in got.options] == ["yes", "no"]
