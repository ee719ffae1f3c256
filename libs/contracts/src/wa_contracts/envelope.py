"""The envelope around every published event."""

from uuid import UUID

from pydantic import SerializeAsAny

from wa_contracts.ids import EventId, SessionId
from wa_contracts.session_events import Event
from wa_contracts.wire import Number, UtcDatetime, Wire


class Envelope(Wire):
    """An event with its place in history."""

    id: EventId
    """The event's own id."""
    type: str
    """The event's name."""
    version: Number
    """The version of the event's shape."""
    session_id: SessionId
    session_sequence: Number
    """Counts the session's events of all types without gaps from 1: that is their order."""
    stream: str
    """Where it is stored: `session-<id>` or `message-<id>`."""
    stream_version: Number
    """Its place there. Private events are counted too, so here are gaps."""
    occurred_at: UtcDatetime
    """When it was stored."""
    correlation_id: UUID
    """Shared by everything that one request led to."""
    causation_id: UUID
    """The command or event that caused it."""
    data: SerializeAsAny[Event]
    """What happened."""
