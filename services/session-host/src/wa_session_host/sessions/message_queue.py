"""The messages of one session that wait for their turn: in order, each found by its id."""

from collections import OrderedDict
from datetime import UTC, datetime

from wa_contracts.ids import MessageId
from wa_session_host.sessions.open_message import OpenMessage

_NEVER = datetime.max.replace(tzinfo=UTC)


class MessageQueue:
    """In the order of storing. However deep it is, nothing but `newly_expired` looks through it."""

    def __init__(self) -> None:
        self._messages: OrderedDict[MessageId, OpenMessage] = OrderedDict()
        self._none_expires_before = _NEVER

    def __len__(self) -> int:
        return len(self._messages)

    @property
    def first(self) -> OpenMessage | None:
        """The oldest, whose turn is next."""
        return next(iter(self._messages.values()), None)

    def append(self, message: OpenMessage) -> None:
        """Its turn is after all others'."""
        self._messages[message.facts.id] = message
        self._none_expires_before = min(self._none_expires_before, message.facts.expires_at)

    def put_back(self, message: OpenMessage) -> None:
        """Its turn is next again."""
        self.append(message)
        self._messages.move_to_end(message.facts.id, last=False)

    def pop_first(self) -> OpenMessage:
        """The oldest, which is in the queue no more."""
        return self._messages.popitem(last=False)[1]

    def remove(self, message: OpenMessage) -> None:
        """It waits no more, whatever its turn was."""
        del self._messages[message.facts.id]

    def get(self, message_id: MessageId) -> OpenMessage | None:
        """The message with this id, if it waits."""
        return self._messages.get(message_id)

    def newly_expired(self, now: datetime) -> list[OpenMessage]:
        """Those past their time, each told of once unless it is put back."""
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
