"""An outgoing message: its states, its commands, and the engine's answers."""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import ClassVar, NamedTuple

from wa_contracts.ids import MessageId
from wa_contracts.internal.commands import FailMessage, MessageType, SendMessage
from wa_contracts.internal.content import Parts, StoredMedia
from wa_contracts.internal.refusals import refusal
from wa_contracts.internal.replies import ErrorDetail, MessageStatus
from wa_contracts.message_events import (
    MessageCancelled,
    MessageDelivered,
    MessageEdited,
    MessageFailed,
    MessageOutcomeUnknown,
    MessagePlayed,
    MessageQueued,
    MessageRead,
    MessageRetryRequested,
    MessageRevoked,
    MessageScheduled,
    MessageSent,
)
from wa_contracts.session_events import Event, SessionStatus
from wa_contracts.wire import UtcDatetime, Wire


class Content(Wire):
    """Private part of a message: stored beside its events, never published.

    `reply_to` is the key of a request that waits for the outcome.
    """

    text: str | None = None
    media_url: str | None = None
    media: StoredMedia | None = None
    file_name: str | None = None
    parts: Parts | None = None
    fingerprint: str = ""
    reply_to: str | None = None

    @property
    def size(self) -> int:
        """Bytes of what a client sent: text, media address or upload, file name, further parts."""
        parts = self.parts.model_dump_json(exclude_defaults=True) if self.parts else None
        media = self.media.model_dump_json() if self.media else None
        sent = (self.text, self.media_url, media, self.file_name, parts)
        return sum(len(one.encode()) for one in sent if one is not None)


class MessageSendStarted(Event):
    """Internal: the engine is about to be called. Without a later event the outcome is unknown."""

    TYPE: ClassVar[str] = "message.send_started"
    started_at: UtcDatetime


class MessageSendDeferred(Event):
    """Internal: the message certainly was not sent, and is queued again.

    With `code` the message alone cannot go now; without it the session cannot send.
    """

    TYPE: ClassVar[str] = "message.send_deferred"
    reason: str
    code: str | None = None


class Facts(NamedTuple):
    """The immutable part of a message, without its content: a queue holds thousands."""

    id: MessageId
    to: str
    type: MessageType
    reference: str | None
    expires_at: datetime
    fingerprint: str = ""


@dataclass(frozen=True)
class NotQueued:
    """No event yet."""


@dataclass(frozen=True)
class Refused:
    """Refused by the session's state or full queue. The same id may be queued later."""

    error: ErrorDetail


@dataclass(frozen=True, slots=True)
class Scheduled:
    """Waiting in the store for its time."""

    facts: Facts
    send_at: datetime


@dataclass(frozen=True, slots=True)
class Queued:
    """Waiting for its turn."""

    facts: Facts


@dataclass(frozen=True, slots=True)
class Sending:
    """With the engine."""

    facts: Facts
    started_at: datetime


@dataclass(frozen=True, slots=True)
class Sent:
    """Acknowledged by WhatsApp; delivered and read by `status`."""

    facts: Facts
    message_id: str
    status: MessageStatus = MessageStatus.SENT
    is_played: bool = False
    is_unreadable: bool = False


@dataclass(frozen=True)
class Failed:
    """Not sent."""

    facts: Facts
    error: ErrorDetail


@dataclass(frozen=True)
class Unknown:
    """Possibly sent, at `started_at` or later."""

    facts: Facts
    error: ErrorDetail
    started_at: datetime


@dataclass(frozen=True)
class Cancelled:
    """Not sent, by request."""

    facts: Facts


State = NotQueued | Refused | Scheduled | Queued | Sending | Sent | Failed | Unknown | Cancelled

QUEUE_FULL = ErrorDetail(
    code="queue_full", message="The session's queue is full, by number or by size: try later."
)
EDIT_WINDOW_OVER = ErrorDetail(
    code="edit_window_over",
    message="WhatsApp lets a message be edited for about 15 minutes after it was sent.",
)
DEAD_LETTERED = ErrorDetail(
    code="internal",
    message="The gateway could not handle this message. It is kept with the dead letters.",
)


def decide_send(
    command: SendMessage, state: State, status: SessionStatus | None, *, room: bool, now: datetime
) -> tuple[Event, ...] | ErrorDetail:
    """Schedule, queue or refuse it by an event; () for a repeat, an error without a session.

    `room` is whether the session's queue (or schedule) accepts another message.
    """
    if not isinstance(state, NotQueued | Refused):
        return ()
    if command.expires_at <= now:
        return _failed(command, expired(command.message_type, "Expired before it was queued."))
    error = refusal(status)
    if error is not None:
        return error if status is None else _failed(command, error)
    if not room:
        return _failed(command, QUEUE_FULL)
    if command.send_at is not None and command.send_at > now:
        return (
            MessageScheduled(
                id=command.message_id,
                to=command.to,
                type=command.message_type,
                reference=command.reference,
                send_at=command.send_at,
                expires_at=command.expires_at,
            ),
        )
    return (
        MessageQueued(
            id=command.message_id,
            to=command.to,
            type=command.message_type,
            reference=command.reference,
            expires_at=command.expires_at,
            target_id=change.of.id if (change := command.change) is not None else None,
        ),
    )


def expired(kind: MessageType, text: str) -> ErrorDetail:
    """The error of a message that was not sent in time; an edit's time is WhatsApp's."""
    if kind is MessageType.EDIT:
        return EDIT_WINDOW_OVER
    return ErrorDetail(code="expired", message=text)


def due(state: Scheduled) -> MessageQueued:
    """A scheduled message takes its place in the queue."""
    facts = state.facts
    return MessageQueued(
        id=facts.id,
        to=facts.to,
        type=facts.type,
        reference=facts.reference,
        expires_at=facts.expires_at,
    )


def decide_fail(command: FailMessage, state: State) -> tuple[Event, ...]:
    """End a dead-lettered send without a stored message; () for a stored one."""
    if not isinstance(state, NotQueued):
        return ()
    return _failed(command, DEAD_LETTERED)


def _failed(command: SendMessage | FailMessage, error: ErrorDetail) -> tuple[Event, ...]:
    return (
        MessageFailed(
            id=command.message_id,
            to=command.to,
            type=command.message_type,
            error=error,
            reference=command.reference,
        ),
    )


def sent(
    facts: Facts,
    message_id: str,
    at: datetime,
    *,
    number: str | None = None,
) -> MessageSent:
    """WhatsApp's ack as an event. `number` is the recipient's, as WhatsApp writes it."""
    _, at_sign, server = facts.to.partition("@")
    return MessageSent(
        id=facts.id,
        message_id=message_id,
        to=facts.to if number is None else f"{number}{at_sign}{server}",
        type=facts.type,
        sent_at=at,
        reference=facts.reference,
    )


def failed(facts: Facts, code: str, message: str) -> MessageFailed:
    return MessageFailed(
        id=facts.id,
        to=facts.to,
        type=facts.type,
        error=ErrorDetail(code=code, message=message),
        reference=facts.reference,
    )


def outcome_unknown(facts: Facts, message: str) -> MessageOutcomeUnknown:
    return MessageOutcomeUnknown(
        id=facts.id,
        to=facts.to,
        type=facts.type,
        error=ErrorDetail(code="outcome_unknown", message=message),
        reference=facts.reference,
    )


def cancelled(facts: Facts) -> MessageCancelled:
    return MessageCancelled(id=facts.id, to=facts.to, type=facts.type, reference=facts.reference)


def evolve(state: State, event: Event, content: Content | None = None) -> State:
    """The state after an event. `MessageScheduled`, `MessageQueued` come with their `content`."""
    match event, state:
        case MessageScheduled(), _:
            return Scheduled(_facts(event, content), event.send_at)
        case MessageQueued(), _:
            return Queued(_facts(event, content))
        case MessageFailed(), NotQueued() | Refused():
            return Refused(event.error)
        case (_, NotQueued() | Refused()) | (MessageEdited() | MessageRevoked(), _):
            return state  # these two are about another message
        case MessageSendStarted(), _:
            return Sending(state.facts, event.started_at)
        case MessageSendDeferred(), _:
            return Queued(state.facts)
        case MessageSent(), _:
            return Sent(state.facts._replace(to=event.to), event.message_id)
        case MessageDelivered() | MessageRead() | MessagePlayed() | MessageRetryRequested(), Sent():
            return _after_receipt(state, event)
        case MessageFailed(), _:
            return Failed(state.facts, event.error)
        case MessageOutcomeUnknown(), Sending():
            return Unknown(state.facts, event.error, state.started_at)
        case MessageCancelled(), _:
            return Cancelled(state.facts)
        case _:
            raise TypeError(f"{event.TYPE} is no event of a message that is {type(state).__name__}")


def _after_receipt(state: Sent, event: Event) -> Sent:
    match event:
        case MessagePlayed():
            return replace(state, is_played=True)
        case MessageRetryRequested():
            return replace(state, is_unreadable=True)
        case MessageRead():
            return replace(state, status=MessageStatus.READ)
        case _:
            return replace(state, status=MessageStatus.DELIVERED)


def _facts(event: MessageScheduled | MessageQueued, content: Content | None) -> Facts:
    fingerprint = content.fingerprint if content is not None else ""
    return Facts(event.id, event.to, event.type, event.reference, event.expires_at, fingerprint)
