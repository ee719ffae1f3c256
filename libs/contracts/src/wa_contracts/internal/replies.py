"""Replies of a session's owner, for results without a new event."""

from enum import StrEnum
from uuid import UUID

from wa_contracts.ids import CommandId, MessageId
from wa_contracts.internal.questions import Answer
from wa_contracts.wire import UtcDatetime, Wire


class MessageStatus(StrEnum):
    """The status of a message."""

    SCHEDULED = "scheduled"
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
    """A message's current state as known by its owner."""

    id: MessageId
    message_id: str | None
    status: MessageStatus
    error: ErrorDetail | None = None
    correlation_id: UUID | None = None
    """The request that the message belongs to; None from hosts that do not say."""


class PairingCode(Wire):
    """A code to enter on the phone."""

    pairing_code: str
    expires_at: UtcDatetime


class MediaOffer(Wire):
    """Media that follows in pieces. `size` is in bytes; type and name are the sender's claims."""

    mime_type: str
    file_name: str | None
    size: int


class Reply(Wire):
    """The answer to one command.

    At most one field is set: `error` (refused, for example `idempotency_conflict`), `message` (a
    duplicate: the first command's message), `pairing_code`, `media` or `answer`. No field means done.
    """

    command_id: CommandId
    error: ErrorDetail | None = None
    message: MessageSnapshot | None = None
    pairing_code: PairingCode | None = None
    media: MediaOffer | None = None
    answer: Answer | None = None
    retry_after_seconds: float | None = None
    """With an error: when another try may help."""
