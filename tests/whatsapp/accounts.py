"""WhatsApp accounts as the server keeps them: numbers, LIDs, linked devices, prekeys.

This state survives reconnections of the clients. An account's primary device, its phone, is
driven by the tests and has its private keys here; of companion devices only public keys are known.
"""

import itertools
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from tests.whatsapp.inbox import Inbox
from tests.whatsapp.nodes import LID_SERVER, Jid, Node, now_text
from tests.whatsapp.outbox import Outbox
from tests.whatsapp.refusals import LoginRefusal, Refusals
from tests.whatsapp.signal_protocol import PrekeyBundle, PublicPrekey, SignalDevice

if TYPE_CHECKING:
    from tests.whatsapp.groups import Group

_FIRST_LID = 700_000_000_000_001


class ClientLink(Protocol):
    """A companion's socket, as far as the rest of the server needs it."""

    is_muted: bool

    async def send(self, node: Node) -> None:
        """Send one stanza; a closed socket swallows it."""

    def send_soon(self, node: Node) -> None:
        """The same, without waiting for it."""

    async def end(self, node: Node) -> None:
        """Send a last stanza, give the client the time to read it, and close."""

    def abort(self) -> None:
        """Close at once, without a word."""


@dataclass(eq=False)
class Companion:
    """One linked device. `link` is its socket from login to disconnection."""

    device: int
    noise_key: bytes
    identity: bytes
    registration_id: int
    signed_prekey: PublicPrekey
    one_time_prekeys: deque[PublicPrekey] = field(default_factory=deque)
    link: ClientLink | None = None
    is_active: bool = False
    unacknowledged: dict[tuple[str, str], Node] = field(default_factory=dict)

    def bundle(self) -> PrekeyBundle:
        """Hand out a bundle; its one-time prekey is given to nobody else."""
        one_time = self.one_time_prekeys.popleft() if self.one_time_prekeys else None
        return PrekeyBundle(self.registration_id, self.identity, self.signed_prekey, one_time)

    async def deliver(self, stanza: Node) -> None:
        """Send a stanza now, and again after each login until the device acknowledges it."""
        self.unacknowledged[stanza.tag, stanza.text("id")] = stanza
        if self.link is not None and self.is_active:
            await self.link.send(stanza)

    async def activate(self) -> None:
        """Note that the device wants its stanzas, and send all that are waiting."""
        self.is_active = True
        for stanza in list(self.unacknowledged.values()):
            if self.link is not None:
                await self.link.send(stanza)

    def acknowledge(self, tag: str, stanza_id: str) -> None:
        """Forget a stanza that the device has confirmed."""
        self.unacknowledged.pop((tag, stanza_id), None)


@dataclass
class Faults:
    """What the server does wrong to one account's companions, on a test's request."""

    login_refusal: LoginRefusal | None = None
    message_error: int | None = None
    holds_acks: bool = False
    held_acks: list[Node] = field(default_factory=list)
    is_muted: bool = False


@dataclass(eq=False)
class Account:
    """One registered number."""

    number: str
    lid: str
    primary: SignalDevice = field(default_factory=SignalDevice)
    inbox: Inbox = field(init=False)
    outbox: Outbox = field(init=False)
    companions: dict[int, Companion] = field(default_factory=dict)
    faults: Faults = field(default_factory=Faults)
    _device_numbers: "itertools.count[int]" = field(default_factory=lambda: itertools.count(1))

    def __post_init__(self) -> None:
        self.inbox = Inbox(self.primary)
        self.outbox = Outbox(self)

    @property
    def phone_jid(self) -> Jid:
        """The account's address by phone number."""
        return Jid(self.number)

    @property
    def lid_jid(self) -> Jid:
        """The account's address that hides the number; messages are addressed by it."""
        return Jid(self.lid, LID_SERVER)

    @property
    def devices(self) -> tuple[int, ...]:
        """The numbers of all devices; 0 is the phone."""
        return 0, *self.companions

    @property
    def latest_companion(self) -> Companion | None:
        """The device that was linked last, if any is."""
        return next(reversed(self.companions.values()), None)

    def device_jids(self, device: int) -> tuple[Jid, Jid]:
        """One device's addresses, by phone number and by LID."""
        return Jid(self.number, device=device), Jid(self.lid, LID_SERVER, device)

    def next_device(self) -> int:
        """A device number that was never used."""
        return next(self._device_numbers)

    def bundle(self, device: int) -> PrekeyBundle | None:
        """A prekey bundle of that device, or None if there is no such device."""
        if device == 0:
            return self.primary.bundle()
        companion = self.companions.get(device)
        return companion.bundle() if companion else None

    def stanza(
        self,
        tag: str,
        stanza_id: str,
        kind: str | None = None,
        content: list[Node] | None = None,
        *,
        group: str | None = None,
    ) -> Node:
        """A message or receipt as it comes from this account's phone, or through a group."""
        attrs: dict[str, str | Jid] = {"id": stanza_id, "t": now_text()}
        if group is None:
            attrs |= {"from": self.lid_jid, "sender_pn": self.phone_jid}
        else:
            user, _, server = group.partition("@")
            attrs |= {"from": Jid(user, server), "addressing_mode": "lid"}
            attrs |= {"participant": self.lid_jid, "participant_pn": self.phone_jid}
        if kind is not None:
            attrs["type"] = kind
        if tag == "message":
            attrs["notify"] = f"Contact {self.number}"
        return Node(tag, attrs, content)


class Directory:
    """All registered numbers."""

    def __init__(self) -> None:
        self._by_number: dict[str, Account] = {}
        self._by_lid: dict[str, Account] = {}
        self._meant: dict[str, Account] = {}
        self.asked_about: list[str] = []
        """The numbers of which a client asked whose they are, in order."""
        self.refusals = Refusals()
        self.clients: list[str] = []
        """The version of each client that said hello, in order."""
        self.groups: dict[str, Group] = {}
        self._lids = itertools.count(_FIRST_LID)

    def register(self, number: str) -> Account:
        """Return the account of that number, making it if it is new.

        Raises ValueError if the number is not in digits with its country code.
        """
        if not number.isdecimal() or number.startswith("0"):
            raise ValueError(f"not an international number in digits: {number!r}")
        if number not in self._by_number:
            account = Account(number, str(next(self._lids)))
            self._by_number[number] = self._by_lid[account.lid] = account
        return self._by_number[number]

    def find(self, jid: Jid) -> Account | None:
        """The account behind an address of either kind, or None: not on WhatsApp."""
        accounts = self._by_lid if jid.server == LID_SERVER else self._by_number
        return accounts.get(jid.user)

    def also_means(self, number: str, account: Account) -> None:
        """Let whoever asks about this number be told of that account."""
        self._meant[number] = account

    def whose(self, number: str) -> Account | None:
        """The account that WhatsApp takes a typed number for, which may be written otherwise."""
        self.asked_about.append(number)
        return self._by_number.get(number) or self._meant.get(number)
