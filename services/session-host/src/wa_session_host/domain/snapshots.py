"""An outgoing message as replies show it."""

from typing import assert_never

from wa_contracts.ids import MessageId
from wa_contracts.internal.replies import ErrorDetail, MessageSnapshot, MessageStatus
from wa_session_host.domain import message as domain


def snapshot(message_id: MessageId, state: domain.State) -> MessageSnapshot:
    """The message as shown in a reply.

    Raises:
        ValueError: the message does not exist.
    """
    match state:
        case domain.NotQueued():
            raise ValueError("an unborn message has no snapshot")
        case domain.Refused():
            return _snapshot(message_id, MessageStatus.FAILED, error=state.error)
        case domain.Scheduled():
            return _snapshot(message_id, MessageStatus.SCHEDULED)
        case domain.Queued() | domain.Sending():
            return _snapshot(message_id, MessageStatus.QUEUED)
        case domain.Sent():
            return _snapshot(message_id, state.status, whatsapp_id=state.message_id)
        case domain.Failed():
            return _snapshot(message_id, MessageStatus.FAILED, error=state.error)
        case domain.Unknown():
            return _snapshot(message_id, MessageStatus.UNKNOWN, error=state.error)
        case domain.Cancelled():
            return _snapshot(message_id, MessageStatus.CANCELLED)
        case _:
            assert_never(state)


def _snapshot(
    message_id: MessageId,
    status: MessageStatus,
    *,
    whatsapp_id: str | None = None,
    error: ErrorDetail | None = None,
) -> MessageSnapshot:
    return MessageSnapshot(id=message_id, message_id=whatsapp_id, status=status, error=error)
