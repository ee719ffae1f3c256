"""Stored events, and appends to streams."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import NamedTuple, NewType
from uuid import UUID

from wa_contracts.codec import decode_event_json
from wa_contracts.ids import EventId, SessionId
from wa_contracts.message_events import MessageEchoed, MessageReceived
from wa_contracts.session_events import Event
from wa_session_host.domain import message
from wa_session_host.domain.message import Content, MessageSendDeferred, MessageSendStarted
from wa_session_host.domain.observations import ReceivedMedia
from wa_session_host.domain.session import SessionLinked
from wa_session_host.domain.session_options import SessionProxySet

FencingToken = NewType("FencingToken", int)

INTERNAL_EVENTS: Mapping[str, type[Event]] = {
    event.TYPE: event
    for event in (SessionLinked, SessionProxySet, MessageSendStarted, MessageSendDeferred)
}


INCOMING = frozenset({MessageReceived.TYPE, MessageEchoed.TYPE})
"""Events whose private content is the media at WhatsApp."""


class VersionConflict(Exception):
    """The stream is not at the expected version: reload and decide again."""


class LeaseLost(Exception):
    """This host does not hold the partition: nothing was appended."""


class Append(NamedTuple):
    """Events for one stream of one session, all or none.

    `expected_version` is the version of the stream's last event, 0 for a new stream. `content` is
    stored beside the first event. `reply_to` is the key of a request that waits for these events.
    """

    partition: int
    session_id: SessionId
    stream: str
    expected_version: int
    events: tuple[Event, ...]
    correlation_id: UUID
    causation_id: UUID
    content: Content | ReceivedMedia | None = None
    reply_to: str | None = None


class StoredEvent(NamedTuple):
    """A stored event; the fields are the table's columns, in this order.

    `session_sequence` is None for internal events. `traceparent` is the trace of the append.
    """

    position: int
    partition: int
    session_id: SessionId
    session_sequence: int | None
    stream: str
    stream_version: int
    id: EventId
    type: str
    version: int
    occurred_at: datetime
    correlation_id: UUID
    causation_id: UUID
    data_json: str
    content_json: str | None = None
    reply_to: str | None = None
    traceparent: str | None = None

    @property
    def event(self) -> Event:
        """The typed event, in its newest version."""
        internal = INTERNAL_EVENTS.get(self.type)
        if internal is not None:
            return internal.model_validate_json(self.data_json)
        return decode_event_json(self.type, self.version, self.data_json)

    @property
    def content(self) -> Content | None:
        """Private content of an outgoing message."""
        if self.content_json is None or self.type in INCOMING:
            return None
        return Content.model_validate_json(self.content_json)

    @property
    def media(self) -> ReceivedMedia | None:
        """Private part of an incoming message's media."""
        if self.content_json is None or self.type not in INCOMING:
            return None
        return ReceivedMedia.model_validate_json(self.content_json)


def queued_content(events: Iterable[StoredEvent]) -> Content:
    """The content of a message's stream; empty for one that was never queued."""
    found = [content for stored in events if (content := stored.content) is not None]
    return found[-1] if found else Content()


def quotable_text(events: Iterable[StoredEvent]) -> str | None:
    """The text or caption of a message that was sent or received."""
    found = None
    for stored in events:  # what could not be decrypted is followed by its content
        if isinstance(stored.event, MessageReceived):
            found = stored.event.text
        elif stored.content is not None:
            return stored.content.text
    return found


def poll_options(events: Iterable[StoredEvent]) -> tuple[str, ...]:
    """The options of a poll that was sent or received; () of anything else."""
    for stored in events:
        if isinstance(event := stored.event, MessageReceived) and event.poll is not None:
            return event.poll.options
        if (content := stored.content) is not None and content.parts and content.parts.poll:
            return tuple(content.parts.poll.options)
    return ()


def message_state(events: Iterable[StoredEvent]) -> message.State:
    state: message.State = message.NotQueued()
    for stored in events:
        state = message.evolve(state, stored.event, stored.content)
    return state
