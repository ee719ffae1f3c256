"""Identifiers. All are UUIDs; new ones are version 7, so that they sort by the time of their making."""

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
    """The message id that belongs to an `Idempotency-Key` of a session.

    The same session and key give the same id in every api process, so that a repeated request
    becomes a repeated command, which its stream's name then shows. Needs no table.
    """
    return MessageId(uuid5(session_id, idempotency_key))


def session_stream(session_id: SessionId) -> str:
    """The name of a session's stream."""
    return f"session-{session_id}"


def message_stream(message_id: MessageId) -> str:
    """The name of a message's stream."""
    return f"message-{message_id}"
