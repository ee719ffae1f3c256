"""The envelope around every published event."""

from uuid import UUID

from pydantic import SerializeAsAny

from wa_contracts.ids import EventId, SessionId
from wa_contracts.session_events import Event
from wa_contracts.wire import UtcDatetime, Wire


class Envelope(Wire):
    """An event with its place in history.

    `session_sequence` counts a session's published events without gaps from 1: that is their
    order. `stream` and `stream_version` say where it is stored. `causation_id` is the command or
    event that caused it, `correlation_id` is shared by everything that one request led to.
    """

    id: EventId
    type: str
    version: int
    session_id: SessionId
    session_sequence: int
    stream: str
    stream_version: int
    occurred_at: UtcDatetime
    correlation_id: UUID
    causation_id: UUID
    data: SerializeAsAny[Event]
