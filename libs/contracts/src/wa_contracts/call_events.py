"""Call events. Stream `call-<id>`, routing keys `v1.<sessionId>.call.*`."""

from typing import ClassVar
from uuid import UUID

from wa_contracts.session_events import Event
from wa_contracts.wire import UtcDatetime


class _AboutCall(Event):
    """A call to the session's number. The gateway cannot take calls."""

    id: UUID
    """The gateway's id of the call."""
    call_id: str
    """WhatsApp's own id."""
    caller: str
    """The JID of who calls, as WhatsApp names it."""
    caller_number: str | None = None
    """The caller's number in digits, if it is known."""
    caller_lid: str | None = None
    """The caller's JID that hides the number, if it is known."""


class CallReceived(_AboutCall):
    """Somebody calls."""

    TYPE: ClassVar[str] = "call.received"
    is_video: bool = False
    is_group: bool = False
    received_at: UtcDatetime


class CallEnded(_AboutCall):
    """A call ended, or rings no more. `reason` is WhatsApp's word for it, if it gave one."""

    TYPE: ClassVar[str] = "call.ended"
    reason: str | None = None
    ended_at: UtcDatetime


CALL_EVENTS: tuple[type[Event], ...] = (CallReceived, CallEnded)
