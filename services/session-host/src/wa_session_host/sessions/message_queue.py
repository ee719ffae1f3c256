"""Waiting messages of one session, in order and by id."""

from collections import deque
from datetime import UTC, datetime
from heapq import heappop, heappush

from wa_contracts.ids import MessageId
from wa_session_host.domain.proof import chat_of
from wa_session_host.domain.set_aside import SetAside
from wa_session_host.sessions.open_message import OpenMessage

_NEVER = datetime.max.replace(tzinfo=UTC)


class MessageQueue:
    """In the order of storing. A message that is set aside holds back its chat, and no other.

    Only `newly_expired` iterates over the queue.
    """

    def __init__(self) -> None:
        self._messages: dict[MessageId, OpenMessage] = {}
        self._ready: list[tuple[int, MessageId]] = []
        """A heap. It may name messages that left, or whose chat is held back."""
        self._aside: dict[str, OpenMessage] = {}
        """The first message of each chat that is held back."""
        self._behind: dict[str, deque[OpenMessage]] = {}
        self._numbers: dict[str, str] = {}
        """Chats by number, of those that are known by LID too."""
        self.content_bytes = 0
        self._none_expires_before = _NEVER

    def __len__(self) -> int:
        return len(self._messages)

    @property
    def first(self) -> OpenMessage | None:
        """The oldest message whose chat is not held back."""
        while self._ready:
            message = self._messages.get(self._ready[0][1])
            if message is None:
                heappop(self._ready)
                continue
            chat = self.chat(message)
            if chat not in self._aside:
                return message
            heappop(self._ready)
            self._behind[chat].append(message)
        return None

    @property
    def oldest_position(self) -> int | None:
        """Position of the oldest message."""
        first = self.first
        oldest = [*self._aside.values()] if first is None else [*self._aside.values(), first]
        return min((one.queued_position for one in oldest), default=None)

    @property
    def set_aside(self) -> list[OpenMessage]:
        """Messages that are set aside."""
        return list(self._aside.values())

    def chat(self, message: OpenMessage) -> str:
        """The message's chat: the same for a number and its LID, once `is_same` was told."""
        chat = chat_of(message.facts.to)
        return self._numbers.get(chat, chat)

    def is_same(self, lid: str, number: str) -> bool:
        """Learn that a LID's chat is that of a number; whether that chat is held back."""
        chat = chat_of(number)
        if lid not in self._numbers:
            self._numbers[lid] = chat
            if lid in self._aside:  # it waited as a chat of its own
                self._release(lid)
        return chat in self._aside

    def append(self, message: OpenMessage) -> None:
        self._add(message)
        self._push(message)

    def put_aside(self, message: OpenMessage, aside: SetAside) -> None:
        """Queue a message again; it and its chat wait until `release`."""
        message.aside = aside
        chat = self.chat(message)
        self._aside[chat] = message
        self._behind[chat] = deque()
        self._add(message)

    def release(self, now: datetime = _NEVER) -> None:
        """Let the chats go on whose time to wait is over; all without `now`."""
        due = [chat for chat, one in self._aside.items() if one.aside and one.aside.until <= now]
        for chat in due:
            self._release(chat)

    def release_reason(self, code: str) -> None:
        """Let the chats go on that wait for this reason."""
        for chat, one in list(self._aside.items()):
            if one.aside and one.aside.error.code == code:
                self._release(chat)

    def next_release_at(self) -> datetime | None:
        """When the next chat may go on; None if none is held back."""
        return min((one.aside.until for one in self._aside.values() if one.aside), default=None)

    def pop_first(self) -> OpenMessage:
        message = self.first
        if message is None:
            raise IndexError("no message is ready")
        heappop(self._ready)
        self.remove(message)
        return message

    def remove(self, message: OpenMessage) -> None:
        del self._messages[message.facts.id]
        self.content_bytes -= message.content_bytes
        chat = self.chat(message)
        if self._aside.get(chat) is message:
            self._release(chat)

    def get(self, message_id: MessageId) -> OpenMessage | None:
        return self._messages.get(message_id)

    def newly_expired(self, now: datetime) -> list[OpenMessage]:
        """Expired messages, each returned once unless it is queued again."""
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

    def _add(self, message: OpenMessage) -> None:
        self._messages[message.facts.id] = message
        self.content_bytes += message.content_bytes
        self._none_expires_before = min(self._none_expires_before, message.facts.expires_at)

    def _push(self, message: OpenMessage) -> None:
        heappush(self._ready, (message.queued_position, message.facts.id))

    def _release(self, chat: str) -> None:
        self._push(self._aside.pop(chat))
        for message in self._behind.pop(chat):
            self._push(message)
