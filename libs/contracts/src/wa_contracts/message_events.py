"""Message events. Stream `message-<id>`, routing keys `v1.<sessionId>.message.*`.

Text, caption, media URL and file name of outgoing messages are never in these events.
"""

from typing import ClassVar, Literal

from wa_contracts.content import Contact, Location, Poll, Selection
from wa_contracts.ids import MessageId
from wa_contracts.internal.commands import MessageType
from wa_contracts.internal.replies import ErrorDetail
from wa_contracts.session_events import Event
from wa_contracts.wire import UtcDatetime


class MessageScheduled(Event):
    """The gateway has the message durably, and queues it at `send_at`."""

    TYPE: ClassVar[str] = "message.scheduled"
    id: MessageId
    """The gateway's id of the message."""
    to: str
    """As it was sent: a number in digits, or a JID."""
    type: MessageType
    reference: str | None = None
    """The client's own, from its request."""
    send_at: UtcDatetime
    """When it is queued. It is never sent earlier."""
    expires_at: UtcDatetime
    """When it is no longer worth sending."""


class MessageQueued(Event):
    """The gateway has the message durably and will send it, at the latest until `expires_at`."""

    TYPE: ClassVar[str] = "message.queued"
    id: MessageId
    """The gateway's id of the message."""
    to: str
    """As it was sent: a number in digits, or a JID."""
    type: MessageType
    reference: str | None = None
    """The client's own, from its request."""
    expires_at: UtcDatetime
    """When it is no longer worth sending."""
    resend_of: MessageId | None = None
    """The message of which this is another try."""
    target_id: MessageId | None = None
    """The message that this one changes, for the types `edit` and `revoke`."""


class MessageSent(Event):
    """WhatsApp's server acknowledged the message. `message_id` is WhatsApp's own id."""

    TYPE: ClassVar[str] = "message.sent"
    id: MessageId
    """The gateway's id of the message."""
    message_id: str
    """WhatsApp's own id."""
    to: str
    """A number in digits, or a JID, with the number that was used: as WhatsApp writes it."""
    type: MessageType
    sent_at: UtcDatetime
    reference: str | None = None
    """The client's own, from its request."""


class MessageDelivered(Event):
    """A device of the recipient has the message."""

    TYPE: ClassVar[str] = "message.delivered"
    id: MessageId
    """The gateway's id of the message."""
    message_id: str
    """WhatsApp's own id."""
    to: str
    """As it was sent: a number in digits, or a JID."""
    delivered_at: UtcDatetime
    reference: str | None = None
    """The client's own, from its request."""


class MessageRead(Event):
    """The recipient read the message."""

    TYPE: ClassVar[str] = "message.read"
    id: MessageId
    """The gateway's id of the message."""
    message_id: str
    """WhatsApp's own id."""
    to: str
    """As it was sent: a number in digits, or a JID."""
    read_at: UtcDatetime
    reference: str | None = None
    """The client's own, from its request."""


class MessagePlayed(Event):
    """The recipient played the voice note or the video."""

    TYPE: ClassVar[str] = "message.played"
    id: MessageId
    """The gateway's id of the message."""
    message_id: str
    """WhatsApp's own id."""
    to: str
    """As it was sent: a number in digits, or a JID."""
    played_at: UtcDatetime
    reference: str | None = None
    """The client's own, from its request."""


class MessageRetryRequested(Event):
    """The recipient's phone could not read the message, and the engine has it no more to send anew."""

    TYPE: ClassVar[str] = "message.retry_requested"
    id: MessageId
    """The gateway's id of the message."""
    message_id: str
    """WhatsApp's own id."""
    to: str
    """As it was sent: a number in digits, or a JID."""
    requested_at: UtcDatetime
    reference: str | None = None
    """The client's own, from its request."""


class MessageFailed(Event):
    """The message was not sent and will not be. `error.code` says why."""

    TYPE: ClassVar[str] = "message.failed"
    id: MessageId
    """The gateway's id of the message."""
    to: str
    """As it was sent: a number in digits, or a JID."""
    type: MessageType
    error: ErrorDetail
    reference: str | None = None
    """The client's own, from its request."""


class MessageOutcomeUnknown(Event):
    """Nobody can know whether the message was sent. It is not sent again by itself."""

    TYPE: ClassVar[str] = "message.unknown"
    id: MessageId
    """The gateway's id of the message."""
    to: str
    """As it was sent: a number in digits, or a JID."""
    type: MessageType
    error: ErrorDetail
    reference: str | None = None
    """The client's own, from its request."""


class MessageCancelled(Event):
    """A queued message was cancelled before it was sent."""

    TYPE: ClassVar[str] = "message.cancelled"
    id: MessageId
    """The gateway's id of the message."""
    to: str
    """As it was sent: a number in digits, or a JID."""
    type: MessageType
    reference: str | None = None
    """The client's own, from its request."""


class MessageReceived(Event):
    """A message arrived.

    Its media is downloaded by `GET /api/messages/{id}/media`. After type `undecryptable` the same
    message may come again under the same `id`, with its content.
    """

    TYPE: ClassVar[str] = "message.received"
    id: MessageId
    """The gateway's id of the message."""
    message_id: str
    """WhatsApp's own id."""
    chat: str
    """The JID of the chat: the sender's, or the group's."""
    sender: str
    """The sender's JID, as WhatsApp names it."""
    sender_number: str | None = None
    """The sender's number in digits, if it is known."""
    sender_lid: str | None = None
    """The sender's JID that hides the number, if it is known."""
    type: str
    """`text`, `image`, `video`, `video_note`, `document`, `audio`, `voice`, `sticker`, `location`,
    `live_location`, `contact`, `poll`, `button_reply`, `list_reply`, `interactive`, `template`,
    `order`, `product`, `event`, `group_invite`, `undecryptable`, or `unsupported`."""
    text: str | None = None
    """The text, or the caption of the media."""
    media_mime_type: str | None = None
    """As the sender says."""
    media_size: int | None = None
    """In bytes, as the sender says."""
    file_name: str | None = None
    """A document's, as the sender says."""
    quoted_message_id: str | None = None
    """WhatsApp's id of the message that this one answers."""
    is_group: bool = False
    received_at: UtcDatetime
    sender_name: str | None = None
    """What the sender calls themselves."""
    chat_kind: Literal["direct", "group", "story", "channel"] = "direct"
    mentions: tuple[str, ...] = ()
    """JIDs of the people that the message mentions."""
    is_forwarded: bool = False
    expires_in_seconds: int | None = None
    """How long the chat keeps messages, if they disappear."""
    location: Location | None = None
    contacts: tuple[Contact, ...] = ()
    poll: Poll | None = None
    selection: Selection | None = None
    """What was chosen, in a reply to buttons or to a list."""
    unsupported: str | None = None
    """WhatsApp's name of the content, for type `unsupported`."""


class MessageEchoed(MessageReceived):
    """The owner wrote a message on the phone or on another linked device."""

    TYPE: ClassVar[str] = "message.echoed"


class _AboutMessage(Event):
    """What somebody did to a message of a chat."""

    id: MessageId | None = None
    """The gateway's id of the message that it is about, if the gateway knows it."""
    message_id: str
    """WhatsApp's id of the message that it is about."""
    chat: str
    """The JID of the chat."""
    sender: str
    """The JID of who did it."""
    sender_number: str | None = None
    """That person's number in digits, if it is known."""
    sender_lid: str | None = None
    """That person's JID that hides the number, if it is known."""
    sender_name: str | None = None
    """What that person calls themselves."""
    from_me: bool = False
    """Whether the owner did it: through the gateway, on the phone or on another device."""


class MessageReacted(_AboutMessage):
    """Somebody reacted to a message. An empty `emoji` takes the reaction back."""

    TYPE: ClassVar[str] = "message.reacted"
    emoji: str
    reacted_at: UtcDatetime


class MessageVoted(_AboutMessage):
    """Somebody voted in a poll. Each vote replaces that person's former one."""

    TYPE: ClassVar[str] = "message.voted"
    options: tuple[str, ...] | None
    """What the person chooses; empty if they took the vote back. None if it cannot be read: the
    gateway, or the engine, does not know the poll."""
    voted_at: UtcDatetime


class MessageEdited(_AboutMessage):
    """Somebody changed the text or caption of their message."""

    TYPE: ClassVar[str] = "message.edited"
    text: str | None
    """The new text. None for a message that the gateway edited."""
    edited_at: UtcDatetime


class MessageRevoked(_AboutMessage):
    """A message was deleted for everyone."""

    TYPE: ClassVar[str] = "message.revoked"
    revoked_at: UtcDatetime


MESSAGE_EVENTS: tuple[type[Event], ...] = (
    MessageScheduled,
    MessageQueued,
    MessageSent,
    MessageDelivered,
    MessageRead,
    MessagePlayed,
    MessageRetryRequested,
    MessageFailed,
    MessageOutcomeUnknown,
    MessageCancelled,
    MessageReceived,
    MessageEchoed,
    MessageReacted,
    MessageVoted,
    MessageEdited,
    MessageRevoked,
)
