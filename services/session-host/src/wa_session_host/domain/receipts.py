"""What receipts of a message's recipient tell."""

from datetime import datetime

from wa_contracts.internal.replies import MessageStatus
from wa_contracts.message_events import (
    MessageDelivered,
    MessagePlayed,
    MessageRead,
    MessageRetryRequested,
)
from wa_contracts.session_events import Event
from wa_session_host.domain.message import Sent
from wa_session_host.domain.observations import ReceiptKind


def events_of(state: Sent, kind: ReceiptKind, at: datetime) -> tuple[Event, ...]:
    """The events of a receipt; () without news. Who played a message has read it."""
    about = {
        "id": state.facts.id,
        "message_id": state.message_id,
        "to": state.facts.to,
        "reference": state.facts.reference,
    }
    read: tuple[Event, ...] = ()
    if kind in {"read", "played"} and state.status is not MessageStatus.READ:
        read = (MessageRead(**about, read_at=at),)
    match kind:
        case "played" if not state.is_played:
            return (*read, MessagePlayed(**about, played_at=at))
        case "delivered" if state.status is MessageStatus.SENT:
            return (MessageDelivered(**about, delivered_at=at),)
        case "unreadable" if not state.is_unreadable:
            return (MessageRetryRequested(**about, requested_at=at),)
        case _:
            return read
