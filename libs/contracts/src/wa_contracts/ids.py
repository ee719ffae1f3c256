"""Identifiers: UUIDs, version 7 for new ones, so that they sort by creation time."""

from typing import NewType
from uuid import UUID, uuid5

import uuid_utils.compat

SessionId = NewType("SessionId", UUID)
MessageId = NewType("MessageId", UUID)
CommandId = NewType("CommandId", UUID)
EventId = NewType("EventId", UUID)


def new_id() -> UUID:
    """A UUID version 7."""
    return uuid_utils.compat.uuid7()


def message_id_for_key(session_id: SessionId, idempotency_key: str) -> MessageId:
    """The message id for an `Idempotency-Key` of a session.

    The same session and key give the same id in every api process. A repeated request becomes a
    repeated command, detected by its stream's name. No table is needed.
    """
    return MessageId(uuid5(session_id, idempotency_key))


def session_stream(session_id: SessionId) -> str:
    """Name of a session's stream."""
    return f"session-{session_id}"


def message_stream(message_id: MessageId) -> str:
    """Name of a message's stream."""
    return f"message-{message_id}"
