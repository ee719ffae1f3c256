"""Waiting messages of one session, in order and by id."""

from collections import OrderedDict
from datetime import UTC, datetime

from wa_contracts.ids import MessageId
from wa_session_host.sessions.open_message import OpenMessage

_NEVER = datetime.max.replace(tzinfo=UTC)


class MessageQueue:
    """In the order of storing. Only `newly_expired` iterates over the queue."""

    def __init__(self) -> None:
        self._messages: OrderedDict[MessageId, OpenMessage] = OrderedDict()
        self.content_bytes = 0
        self._none_expires_before = _NEVER

    def __len__(self) -> int:
        return len(self._messages)

    @property
    def first(self) -> OpenMessage | None:
        return next(iter(self._messages.values()), None)

    def append(self, message: OpenMessage) -> None:
        self._messages[message.facts.id] = message
        self.content_bytes += message.content_bytes
        self._none_expires_before = min(self._none_expires_before, message.facts.expires_at)

    def put_back(self, message: OpenMessage) -> None:
        self.append(message)
        self._messages.move_to_end(message.facts.id, last=False)

    def pop_first(self) -> OpenMessage:
        _, message = self._messages.popitem(last=False)
        self.content_bytes -= message.content_bytes
        return message

    def remove(self, message: OpenMessage) -> None:
        del self._messages[message.facts.id]
        self.content_bytes -= message.content_bytes

    def get(self, message_id: MessageId) -> OpenMessage | None:
        return self._messages.get(message_id)

    def newly_expired(self, now: datetime) -> list[OpenMessage]:
        """Expired messages, each returned once unless it is put back."""
        if now < self._none_expires_before:
            return []
        expired, others = [], [_NEVER]
        for message in self._messages.values():
            if message.facts.expires_at <= now:
                expired.append(message)
            else:
                others.append(message.facts.expires_at)
        self._none_expires_before = min(others)
        return expired
