"""What happens to a message. Stream `message-<id>`, routing keys `v1.<sessionId>.message.*`.

The text, caption, media address and file name of an outgoing message are never in these events.
"""

from typing import ClassVar

from wa_contracts.commands import MessageType
from wa_contracts.ids import MessageId
from wa_contracts.replies import ErrorDetail
from wa_contracts.session_events import Event
from wa_contracts.wire import UtcDatetime


class MessageQueued(Event):
    """The gateway has the message durably and will send it, at the latest until `expires_at`."""

    TYPE: ClassVar[str] = "message.queued"
    id: MessageId
    to: str
    type: MessageType
    reference: str | None = None
    expires_at: UtcDatetime
    resend_of: MessageId | None = None


class MessageSent(Event):
    """WhatsApp's server acknowledged the message. `message_id` is WhatsApp's own id."""

    TYPE: ClassVar[str] = "message.sent"
    id: MessageId
    message_id: str
    to: str
    type: MessageType
    sent_at: UtcDatetime
    reference: str | None = None


class MessageDelivered(Event):
    """A device of the recipient has the message."""

    TYPE: ClassVar[str] = "message.delivered"
    id: MessageId
    message_id: str
    to: str
    delivered_at: UtcDatetime
    reference: str | None = None


class MessageRead(Event):
    """The recipient read the message."""

    TYPE: ClassVar[str] = "message.read"
    id: MessageId
    message_id: str
    to: str
    read_at: UtcDatetime
    reference: str | None = None


class MessageFailed(Event):
    """The message was not sent and will not be. `error.code` says why."""

    TYPE: ClassVar[str] = "message.failed"
    id: MessageId
    to: str
    type: MessageType
    error: ErrorDetail
    reference: str | None = None


class MessageOutcomeUnknown(Event):
    """Nobody can know whether the message was sent. It is not sent again by itself."""

    TYPE: ClassVar[str] = "message.unknown"
    id: MessageId
    to: str
    type: MessageType
    error: ErrorDetail
    reference: str | None = None


class MessageCancelled(Event):
    """A queued message was cancelled before it was sent."""

    TYPE: ClassVar[str] = "message.cancelled"
    id: MessageId
    to: str
    type: MessageType
    reference: str | None = None


class MessageReceived(Event):
    """A message arrived. `id` is ours, `message_id` WhatsApp's; `type` is `text` or its media's kind.

    Media is downloaded by `GET /api/messages/{id}/media`; `mediaSize` is in bytes, as its sender said.
    `sender` is the address that WhatsApp names, `senderNumber` and `senderLid` what is known of both.
    """

    TYPE: ClassVar[str] = "message.received"
    id: MessageId
    message_id: str
    chat: str
    sender: str
    sender_number: str | None = None
    sender_lid: str | None = None
    type: str
    text: str | None = None
    media_mime_type: str | None = None
    media_size: int | None = None
    file_name: str | None = None
    quoted_message_id: str | None = None
    is_group: bool = False
    received_at: UtcDatetime


MESSAGE_EVENTS: tuple[type[Event], ...] = (
    MessageQueued,
    MessageSent,
    MessageDelivered,
    MessageRead,
    MessageFailed,
    MessageOutcomeUnknown,
    MessageCancelled,
    MessageReceived,
)
