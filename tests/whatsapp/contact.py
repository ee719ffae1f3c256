"""A person on WhatsApp as tests drive one: receives, sends, confirms, asks again."""

import secrets
from dataclasses import dataclass
from typing import Literal

from tests.whatsapp.accounts import Account, Companion, Directory
from tests.whatsapp.inbox import ReceivedMessage, ReceivedReceipt
from tests.whatsapp.link_code import LinkCodeDesk
from tests.whatsapp.media import MediaStore
from tests.whatsapp.nodes import Attributes, Jid, Node, now_text
from tests.whatsapp.outbox import Draft
from tests.whatsapp.pairing import PairingDesk
from tests.whatsapp.protobufs import Message
from tests.whatsapp.votes import vote
from tests.whatsapp.waiting import Changes

_RECEIVE_SECONDS = 60.0


@dataclass(frozen=True)
class Network:
    """The parts of the server that phones and contacts use."""

    directory: Directory
    pairing: PairingDesk
    link_codes: LinkCodeDesk
    media: MediaStore
    changes: Changes


class Contact:
    """A registered recipient with one device, its phone. Get one from `StandIn.contact`."""

    def __init__(self, network: Network, account: Account) -> None:
        self._network = network
        self._account = account
        self._given_out = 0

    @property
    def number(self) -> str:
        """The phone number in digits."""
        return self._account.number

    @property
    def lid(self) -> str:
        """The user part of the address that hides the number."""
        return self._account.lid

    def is_meant_by(self, number: str) -> None:
        """WhatsApp takes this number for the contact's, as some countries' older or newer form."""
        self._network.directory.also_means(number, self._account)

    @property
    def inbox(self) -> list[ReceivedMessage]:
        """Everything received so far, in order of arrival."""
        return self._account.inbox.messages

    @property
    def undecryptable(self) -> list[str]:
        """The ids of messages that this phone could not decrypt."""
        return self._account.inbox.undecryptable

    @property
    def receipts(self) -> list[ReceivedReceipt]:
        """What the recipients' companions confirmed of this contact's own messages."""
        return self._account.inbox.receipts

    @property
    def typing(self) -> list[str]:
        """What its chats showed, in order: `composing`, `recording` or `paused`."""
        return self._account.inbox.typing

    @property
    def auto_deliver(self) -> bool:
        """Whether a delivery receipt goes out for each message as it arrives."""
        return self._account.inbox.auto_deliver

    @auto_deliver.setter
    def auto_deliver(self, value: bool) -> None:
        self._account.inbox.auto_deliver = value

    @property
    def asks_again(self) -> bool:
        """Whether it asks the sender again for what it cannot decrypt, as every phone does."""
        return self._account.inbox.asks_again

    @asks_again.setter
    def asks_again(self, value: bool) -> None:
        self._account.inbox.asks_again = value

    async def receive(self, timeout: float = _RECEIVE_SECONDS) -> ReceivedMessage:
        """Return the next message that was not returned yet.

        Raises TimeoutError if none arrives within `timeout` seconds.
        """
        await self._network.changes.until(
            lambda: len(self.inbox) > self._given_out, timeout, f"a message to {self.number}"
        )
        self._given_out += 1
        return self.inbox[self._given_out - 1]

    async def send_text(
        self, to: str, text: str, *, quoting: str | None = None, group: str | None = None
    ) -> str:
        """Send a text to the number `to`, and return the message's id.

        `quoting` is the id of the message that it answers, `group` the JID of a group that both
        are in. Companions that are offline get it after their next login.
        """
        message = Message(conversation=text)
        if quoting is not None:
            message = Message()
            message.extendedTextMessage.text = text
            message.extendedTextMessage.contextInfo.stanzaID = quoting
        return await self._send(to, Draft(message.SerializeToString(), group=group))

    async def send_message(
        self, to: str, message: Message, *, group: str | None = None, mediatype: str = ""
    ) -> str:
        """Send any `waE2E.Message` to the number `to`, and return the message's id."""
        draft = Draft(message.SerializeToString(), group=group, mediatype=mediatype)
        return await self._send(to, draft)

    async def send_garbled(self, to: str, message: Message) -> str:
        """Send a message that its recipient cannot decrypt until it asks again."""
        return await self._send(to, Draft(message.SerializeToString(), garbled=True))

    def sends_nothing_again(self) -> None:
        """Answer no requests for messages that could not be decrypted, as a phone that is off."""
        self._account.outbox.sends_again = False

    async def vote(self, poll: ReceivedMessage, *options: str) -> str:
        """Vote in a poll that was received from its author's companion."""
        author = self._network.directory.find(Jid(poll.sender))
        if author is None:
            raise LookupError(f"{poll.sender} is not on WhatsApp")
        secret = poll.proto.messageContextInfo.messageSecret
        jids = {"author": str(author.lid_jid), "voter": str(self._account.lid_jid)}
        message = vote(poll.id, secret, options=options, own=False, **jids)
        return await self._send(author.number, Draft(message.SerializeToString()))

    async def vote_in_own(self, to: str, poll_id: str, secret: bytes, *options: str) -> str:
        """Vote in a poll that this contact sent to the number `to`."""
        own = str(self._account.lid_jid)
        message = vote(poll_id, secret, author=own, voter=own, options=options, own=True)
        return await self._send(to, Draft(message.SerializeToString()))

    async def call(self, to: str, *, video: bool = False) -> str:
        """Call the number `to`, and return the call's id."""
        call_id = secrets.token_hex(16).upper()
        media = [Node("audio", {"enc": "opus", "rate": "16000"})]
        media += [Node("video", {"enc": "vp8"})] if video else []
        await self._tell_of_call(to, "offer", call_id, media)
        return call_id

    async def hang_up(self, to: str, call_id: str, reason: str = "timeout") -> None:
        """End a call to the number `to`."""
        await self._tell_of_call(to, "terminate", call_id, [], {"reason": reason})

    async def _tell_of_call(
        self,
        to: str,
        what: str,
        call_id: str,
        media: list[Node],
        more: dict[str, str] | None = None,
    ) -> None:
        account = self._account
        about: Attributes = {"call-id": call_id, "call-creator": account.lid_jid, **(more or {})}
        about = {**about, "caller_pn": account.phone_jid}
        attrs: Attributes = {
            "from": account.lid_jid,
            "id": secrets.token_hex(8),
            "t": now_text(),
            "platform": "android",
            "version": "2.26.1",
        }
        for companion in self._companions_of(to):
            await companion.deliver(Node("call", attrs, [Node(what, about, media)]))

    async def send_image(self, to: str, data: bytes, mime_type: str, caption: str = "") -> str:
        """Send an image to the number `to`, and return the message's id."""
        return await self._send_media(to, "image", data, mime_type, caption=caption)

    async def send_document(
        self, to: str, data: bytes, mime_type: str, file_name: str, caption: str = ""
    ) -> str:
        """Send a document to the number `to`, and return the message's id."""
        return await self._send_media(
            to, "document", data, mime_type, caption=caption, fileName=file_name
        )

    async def deliver(self, message_id: str) -> None:
        """Tell the sender that the message reached this phone."""
        await self._confirm(message_id, None)

    async def read(self, message_id: str) -> None:
        """Tell the sender that a person read the message."""
        await self._confirm(message_id, "read")

    async def play(self, message_id: str) -> None:
        """Tell the sender that a person played the voice note or video."""
        await self._confirm(message_id, "played")

    def forget_sessions(self) -> None:
        """Lose all keys shared with senders: what they send next cannot be decrypted."""
        self._account.primary.forget_sessions()

    async def ask_again(self, message_id: str, sender: str) -> None:
        """Tell the number `sender` that its message could not be decrypted, with new keys.

        A sender that still knows the message sends it again, under the same id.
        """
        for companion in self._companions_of(sender):
            await self._account.outbox.ask_again(companion, message_id, 1)

    async def _send_media(
        self,
        to: str,
        kind: Literal["image", "document"],
        data: bytes,
        mime_type: str,
        **fields: str,
    ) -> str:
        media = self._network.media.put(kind, data)
        message = Message()
        part = getattr(message, f"{kind}Message")
        part.mimetype = mime_type
        part.URL = media.url
        part.directPath = media.direct_path
        part.mediaKey = media.media_key
        part.fileSHA256 = media.sha256
        part.fileEncSHA256 = media.encrypted_sha256
        part.fileLength = media.length
        for name, value in fields.items():
            setattr(part, name, value)
        return await self._send(to, Draft(message.SerializeToString(), kind))

    async def _send(self, to: str, draft: Draft) -> str:
        recipient = self._network.directory.find(Jid(to))
        if recipient is None:
            raise LookupError(f"{to} is not on WhatsApp")
        await self._account.outbox.send(recipient, draft)
        return draft.id

    async def _confirm(self, message_id: str, kind: str | None) -> None:
        message = next((one for one in self.inbox if one.id == message_id), None)
        if message is None:
            raise LookupError(f"{self.number} has not received {message_id}")
        for companion in self._companions_of(message.sender):
            await self._account.outbox.confirm(companion, message_id, kind)

    def _companions_of(self, number: str) -> list[Companion]:
        account = self._network.directory.find(Jid(number))
        if account is None:
            raise LookupError(f"{number} is not on WhatsApp")
        return list(account.companions.values())
