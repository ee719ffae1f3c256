"""The server's post: takes messages from companions, acknowledges and distributes them."""

from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial

from tests.whatsapp.accounts import Account, Companion, Directory
from tests.whatsapp.groups import Group
from tests.whatsapp.media import MediaStore
from tests.whatsapp.nodes import Attributes, Jid, Node, now_text
from tests.whatsapp.refusals import REACHOUT_TIMELOCK
from tests.whatsapp.waiting import Changes

_TO_THE_PHONE = "peer"
"""The category of what a companion asks its own phone; nothing of it is for people."""


_Reply = Callable[[], Awaitable[None]]


@dataclass
class AcceptedMessage:
    """One message that the server took.

    `sender` and `recipient` are numbers in digits, `arrived_at` is UTC, and `deliveries` counts
    how often the sender sent the same id: only the first was passed on.
    """

    id: str
    sender: str
    recipient: str
    arrived_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    deliveries: int = 1


class PostOffice:
    """Accepts each message of a companion once, and passes it to the recipient's devices."""

    def __init__(self, directory: Directory, media: MediaStore, changes: Changes) -> None:
        self.messages: list[AcceptedMessage] = []
        self._accepted: dict[tuple[str, int, str], AcceptedMessage] = {}
        self._directory = directory
        self._media = media
        self._changes = changes

    async def accept(self, sender: Account, device: Companion, stanza: Node) -> None:
        """Take one `<message>`, and acknowledge it as the account's faults allow.

        The recipients' receipts follow the acknowledgement.
        """
        faults = sender.faults
        to = stanza.jid("to")
        recipient = self._directory.find(to)
        refusals = self._directory.refusals
        error = refusals.messages.get(
            recipient.number if recipient else to.user, faults.message_error
        )
        if refusals.opens_no_chats and recipient and not self._have_met(sender, recipient):
            error = REACHOUT_TIMELOCK
        if error is not None:
            await _send(device, _ack(stanza, {"error": str(error)}))
            return
        replies: list[_Reply] = []
        if stanza.text("category") != _TO_THE_PHONE and self._record(sender, device, stanza):
            replies = await self._distribute(sender, device, stanza)
        if faults.holds_acks:
            faults.held_acks.append(_ack(stanza))
        else:
            await _send(device, _ack(stanza))
        self._changes.announce()
        for reply in replies:
            await reply()

    def _have_met(self, sender: Account, recipient: Account) -> bool:
        """Whether one of them wrote to the other before; nobody is new to themselves."""
        wrote = ((one.sender, one.recipient) for one in self.messages)
        return (
            sender is recipient
            or (sender.number, recipient.number) in wrote
            or sender.number in recipient.outbox.wrote_to
        )

    def _record(self, sender: Account, device: Companion, stanza: Node) -> bool:
        """Note the message; returns whether it is to be passed on, for once or on request."""
        key = sender.number, device.device, stanza.text("id")
        known = self._accepted.get(key)
        is_on_request = stanza.child("enc") is not None
        if known is None:
            to = stanza.jid("to")
            recipient = self._directory.find(to)
            number = recipient.number if recipient else to.user
            self._accepted[key] = AcceptedMessage(stanza.text("id"), sender.number, number)
            self.messages.append(self._accepted[key])
        elif not is_on_request:
            known.deliveries += 1
        return known is None or is_on_request

    async def _distribute(self, sender: Account, device: Companion, stanza: Node) -> list[_Reply]:
        """Pass the message to each device, and return what the phones answer."""
        group = self._directory.groups.get(stanza.jid("to").user)
        if group is not None:
            return self._distribute_in(group, sender, device, stanza)
        replies: list[_Reply] = []
        _, from_jid = sender.device_jids(device.device)
        for to, enc in _parts(stanza):
            recipient = self._directory.find(to)
            if recipient is not None and to.device == 0:
                replies += self._hand_over(sender, device, recipient, stanza, enc)
            elif recipient is not None and to.device in recipient.companions:
                forwarded = _forwarded(sender, from_jid, stanza, enc)
                await recipient.companions[to.device].deliver(forwarded)
        return replies

    def _distribute_in(
        self, group: Group, sender: Account, device: Companion, stanza: Node
    ) -> list[_Reply]:
        """Tell each member's phone the sender's key, then give it the message."""
        _, from_jid = sender.device_jids(device.device)
        replies: list[_Reply] = []
        participants = stanza.child("participants")
        for part in participants.children if participants else ():
            member = self._directory.find(part.jid("jid"))
            if member is not None and part.jid("jid").device == 0:
                keys = member.inbox.sender_keys
                keys.learn(str(stanza.jid("to")), str(from_jid), part.need("enc"))
        for member in group.members:
            if member is not sender:
                replies += self._hand_over(sender, device, member, stanza, stanza.need("enc"))
        return replies

    def _hand_over(
        self, sender: Account, device: Companion, recipient: Account, stanza: Node, enc: Node
    ) -> list[_Reply]:
        """Give the message to the recipient's phone, and return what it answers."""
        _, from_jid = sender.device_jids(device.device)
        message_id = stanza.text("id")
        inbox, outbox = recipient.inbox, recipient.outbox
        message = inbox.accept(stanza, enc, from_jid, sender.number, self._media.open)
        if recipient is sender:
            return []
        if message is None and inbox.asks_again:
            attempt = inbox.undecryptable.count(message_id)
            return [partial(outbox.ask_again, device, message_id, attempt)]
        if message is not None and inbox.auto_deliver:
            return [partial(outbox.confirm, device, message_id, None)]
        return []


def _parts(stanza: Node) -> Iterator[tuple[Jid, Node]]:
    """Each device of the recipient with what is encrypted for it."""
    retry = stanza.child("enc")
    if retry is not None:
        yield stanza.jid("to"), retry
    participants = stanza.child("participants")
    for part in participants.children if participants else ():
        yield part.jid("jid"), part.need("enc")


def _forwarded(sender: Account, from_jid: Jid, stanza: Node, enc: Node) -> Node:
    identity = stanza.child("device-identity")
    return Node(
        "message",
        {
            "from": from_jid,
            "sender_pn": sender.phone_jid,
            "id": stanza.text("id"),
            "type": stanza.text("type"),
            "t": now_text(),
        },
        [enc, identity] if identity else [enc],
    )


def _ack(stanza: Node, extra: Attributes | None = None) -> Node:
    attrs: Attributes = {
        "class": "message",
        "id": stanza.text("id"),
        "from": stanza.jid("to"),
        "t": now_text(),
    }
    return Node("ack", {**attrs, **(extra or {})})


async def _send(device: Companion, node: Node) -> None:
    if device.link is not None:
        await device.link.send(node)
