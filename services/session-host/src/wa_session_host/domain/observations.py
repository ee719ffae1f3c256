"""Facts that an engine observes: about the link, the connection and messages."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from wa_contracts.content import Contact, Location, Poll, Selection
from wa_contracts.wire import Wire


@dataclass(frozen=True)
class QRShown:
    """WhatsApp issued a QR code, valid until `expires_at`.

    `problem` is why a scan during this attempt led to no link.
    """

    qr: str
    expires_at: datetime
    problem: str | None = None


@dataclass(frozen=True)
class QRRanOut:
    """The attempt's last QR code expired. The engine has ended."""


@dataclass(frozen=True)
class EngineRefused:
    """WhatsApp or the phone refused for good (`pairing_failed`). The engine has ended."""

    reason: str
    message: str


@dataclass(frozen=True)
class ClientVersion:
    """An engine with its version, and the WhatsApp client version that it states at the log-in."""

    engine: str
    client: str


@dataclass(frozen=True)
class ClientOutdated:
    """WhatsApp refuses this version (405). The engine has ended; another version may be accepted."""

    version: ClientVersion


@dataclass(frozen=True)
class LinkedDevice:
    """The phone accepted the link. `jid` names the device in the device store."""

    jid: str
    phone_number: str


@dataclass(frozen=True)
class LoggedIn:
    """WhatsApp accepted the login: messages can be sent."""


@dataclass(frozen=True)
class ConnectionLost:
    """The connection is lost; the engine reconnects."""

    reason: str
    message: str
    retry_at: datetime | None = None


@dataclass(frozen=True)
class EngineCrashed:
    """The engine ended unexpectedly; the session starts another one at `retry_at`."""

    reason: str
    message: str
    retry_at: datetime | None = None


@dataclass(frozen=True)
class StreamReplaced:
    """Another connection with the same link replaced this one. The engine has ended."""

    reason: str = "stream_replaced"
    message: str = "Another program took over this link's connection."
    retry_at: datetime | None = None


@dataclass(frozen=True)
class LinkRemoved:
    """The link was removed: on the phone, or by WhatsApp with its words. The engine has ended."""

    reason: Literal["phone", "whatsapp"] = "phone"
    message: str | None = None


@dataclass(frozen=True)
class NumberRestricted:
    """WhatsApp restricts the number temporarily. The engine has ended."""

    reason: str
    message: str
    until: datetime | None


@dataclass(frozen=True)
class ReachoutLocked:
    """WhatsApp refused a first message to a new chat (463). The engine goes on."""


@dataclass(frozen=True)
class ReachoutOpen:
    """WhatsApp took a first message to a new chat."""


SendObservation = ReachoutLocked | ReachoutOpen
"""What the outcome of a send shows about the account."""


@dataclass(frozen=True)
class NumberBanned:
    """WhatsApp banned the number. The engine has ended."""

    reason: str
    message: str


Observation = (
    QRShown
    | QRRanOut
    | EngineRefused
    | ClientOutdated
    | LinkedDevice
    | LoggedIn
    | ConnectionLost
    | EngineCrashed
    | StreamReplaced
    | LinkRemoved
    | NumberRestricted
    | NumberBanned
)

EngineEnding = (
    QRRanOut
    | EngineRefused
    | ClientOutdated
    | EngineCrashed
    | StreamReplaced
    | LinkRemoved
    | NumberRestricted
    | NumberBanned
)
"""Observations after which the engine ends."""


class ReceivedMedia(Wire):
    """Location and keys of encrypted media at WhatsApp. Keys and hashes are base64.

    `size` is in bytes. The sender states size, MIME type and file name.
    """

    kind: str
    direct_path: str
    media_key: str
    sha256: str
    encrypted_sha256: str
    size: int
    mime_type: str
    file_name: str | None = None


ReceiptKind = Literal["delivered", "read", "played", "unreadable"]


@dataclass(frozen=True)
class ReceiptSeen:
    """What a recipient's device says of these messages.

    `chats` are the chat's known addresses: by number and by LID. `unreadable` means that the device
    asked for them anew and the engine has them no more.
    """

    chats: tuple[str, ...]
    message_ids: tuple[str, ...]
    kind: ReceiptKind
    at: datetime


UNDECRYPTABLE = "undecryptable"
"""The kind of a message that could not be decrypted."""
ChatKind = Literal["direct", "group", "story", "channel"]
_CHAT_KINDS: Mapping[str, ChatKind] = {
    "g.us": "group",
    "broadcast": "story",
    "newsletter": "channel",
}


def chat_kind(server: str) -> ChatKind:
    """The kind of a chat, by the server of its JID."""
    return _CHAT_KINDS.get(server, "direct")


class MessageDetails(Wire):
    """What an incoming message has beside text and media."""

    sender_name: str | None = None
    chat_kind: ChatKind = "direct"
    mentions: tuple[str, ...] = ()
    is_forwarded: bool = False
    expires_in_seconds: int | None = None
    location: Location | None = None
    contacts: tuple[Contact, ...] = ()
    poll: Poll | None = None
    selection: Selection | None = None
    unsupported: str | None = None


@dataclass(frozen=True)
class MessageSeen:
    """A message arrived; `is_own` if the account's owner wrote it on another device."""

    message_id: str
    chat: str
    sender: str
    sender_number: str | None
    sender_lid: str | None
    kind: str
    text: str | None
    media: ReceivedMedia | None
    quoted_message_id: str | None
    is_group: bool
    at: datetime
    is_own: bool = False
    details: MessageDetails = field(default_factory=MessageDetails)


@dataclass(frozen=True)
class ChangeSeen:
    """Somebody reacted to, voted in, edited or revoked the message `of`.

    `stanza_id` names the change itself, `of_own` whether the message is this account's. `chosen` has
    the SHA-256 of each option that a vote names, None if the vote cannot be decrypted.
    """

    change: Literal["reacted", "voted", "edited", "revoked"]
    stanza_id: str
    of: str
    of_own: bool
    chat: str
    sender: str
    sender_number: str | None
    sender_lid: str | None
    sender_name: str | None
    is_own: bool
    text: str | None
    at: datetime
    chosen: tuple[str, ...] | None = None


@dataclass(frozen=True)
class CallSeen:
    """A call rings, or has ended."""

    call_id: str
    caller: str
    caller_number: str | None
    caller_lid: str | None
    has_ended: bool
    reason: str | None
    is_video: bool
    is_group: bool
    at: datetime


Seen = Observation | ReceiptSeen | MessageSeen | ChangeSeen | CallSeen
