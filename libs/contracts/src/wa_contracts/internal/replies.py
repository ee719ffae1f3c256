"""Replies: what the owner of a session answers where no new event says it."""

from enum import StrEnum

from wa_contracts.ids import CommandId, MessageId
from wa_contracts.wire import UtcDatetime, Wire


class MessageStatus(StrEnum):
    """Where a message stands."""

    QUEUED = "queued"
    SENT = "sent"
    DELIVERED = "delivered"
    READ = "read"
    FAILED = "failed"
    UNKNOWN = "unknown"
    CANCELLED = "cancelled"


class ErrorDetail(Wire):
    """Why something did not happen: a code for programs and a sentence for people."""

    code: str
    message: str


class MessageSnapshot(Wire):
    """A message as its owner knows it now."""

    id: MessageId
    message_id: str | None
    status: MessageStatus
    error: ErrorDetail | None = None


class PairingCode(Wire):
    """A code to be entered on the phone."""

    pairing_code: str
    expires_at: UtcDatetime


class MediaOffer(Wire):
    """Media that is about to come in pieces. `size` is in bytes, the names are its sender's word."""

    mime_type: str
    file_name: str | None
    size: int


class Reply(Wire):
    """The answer to one command.

    Exactly one of these holds: `error` is set (refused; its code says why, `idempotency_conflict`
    among others), `message` is set (the command was a repeat, this is the first one's message),
    `pairing_code` is set, `media` is set, or none (done).
    """

    command_id: CommandId
    error: ErrorDetail | None = None
    message: MessageSnapshot | None = None
    pairing_code: PairingCode | None = None
    media: MediaOffer | None = None
