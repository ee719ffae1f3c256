"""What an engine sees of WhatsApp: facts about the link, the connection, and messages."""

from dataclasses import dataclass
from datetime import datetime

from wa_contracts.wire import Wire


@dataclass(frozen=True)
class QRShown:
    """WhatsApp gave a QR code, good until `expires_at`."""

    qr: str
    expires_at: datetime


@dataclass(frozen=True)
class QRRanOut:
    """The last QR code of this attempt ran out. The engine has ended."""


@dataclass(frozen=True)
class EngineRefused:
    """WhatsApp or the phone refused for good, for example `pairing_failed`. The engine has ended."""

    reason: str
    message: str


@dataclass(frozen=True)
class LinkedDevice:
    """The phone accepted: this is the session's device. `jid` names it in the device store."""

    jid: str
    phone_number: str


@dataclass(frozen=True)
class LoggedIn:
    """WhatsApp accepted the login: messages can be sent."""


@dataclass(frozen=True)
class ConnectionLost:
    """The connection is gone; the engine tries again by itself."""

    reason: str
    message: str
    retry_at: datetime | None = None


@dataclass(frozen=True)
class EngineCrashed:
    """The engine has ended unasked; the session starts another one at `retry_at`."""

    reason: str
    message: str
    retry_at: datetime | None = None


@dataclass(frozen=True)
class StreamReplaced:
    """Another connection with the same link took this one's place. The engine has ended."""

    reason: str = "stream_replaced"
    message: str = "Another program took over this link's connection."
    retry_at: datetime | None = None


@dataclass(frozen=True)
class LinkRemoved:
    """The phone removed the link. The engine has ended."""


@dataclass(frozen=True)
class NumberRestricted:
    """WhatsApp restricts the number for a while. The engine has ended."""

    reason: str
    message: str
    until: datetime | None


@dataclass(frozen=True)
class NumberBanned:
    """WhatsApp banned the number. The engine has ended."""

    reason: str
    message: str


Observation = (
    QRShown
    | QRRanOut
    | EngineRefused
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
    | EngineCrashed
    | StreamReplaced
    | LinkRemoved
    | NumberRestricted
    | NumberBanned
)
"""Observations that an engine ends after, by itself."""


class ReceivedMedia(Wire):
    """Where WhatsApp keeps the encrypted media, and what opens it. Keys and hashes are base64.

    `size` is in bytes. It, the MIME type and the file name are the sender's word.
    """

    kind: str
    direct_path: str
    media_key: str
    sha256: str
    encrypted_sha256: str
    size: int
    mime_type: str
    file_name: str | None = None


@dataclass(frozen=True)
class ReceiptSeen:
    """A recipient's device has (`read` is False) or its user read these messages.

    `chats` are the chat's addresses as far as they are known: by number and by LID.
    """

    chats: tuple[str, ...]
    message_ids: tuple[str, ...]
    read: bool
    at: datetime


@dataclass(frozen=True)
class MessageSeen:
    """A message arrived."""

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


Seen = Observation | ReceiptSeen | MessageSeen
