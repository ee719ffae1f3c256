"""Identifiers: UUIDs, version 7 for new ones, so that they sort by creation time."""

from typing import NewType
from uuid import UUID, uuid5

import uuid_utils.compat

SessionId = NewType("SessionId", UUID)
MessageId = NewType("MessageId", UUID)
CommandId = NewType("CommandId", UUID)
EventId = NewType("EventId", UUID)

PARTITIONS = 64
"""Number of partitions, for ever: it is in the names of queues and in stored rows."""


def new_id() -> UUID:
    return uuid_utils.compat.uuid7()


def message_id_for_key(session_id: SessionId, idempotency_key: str) -> MessageId:
    """The message id for an `Idempotency-Key` of a session.

    The same in every api process, so a repeated request becomes a repeated command, detected by its
    stream's name. Needs no table.
    """
    return MessageId(uuid5(session_id, idempotency_key))


def session_stream(session_id: SessionId) -> str:
    return f"session-{session_id}"


def call_stream(call_id: UUID) -> str:
    return f"call-{call_id}"


def message_stream(message_id: MessageId) -> str:
    return f"message-{message_id}"
