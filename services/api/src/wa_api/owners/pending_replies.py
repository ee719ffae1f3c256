"""Requests that wait for the result of a command."""

import asyncio
from collections import defaultdict, deque
from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum
from uuid import UUID

from wa_contracts.envelope import Envelope
from wa_contracts.internal.replies import Reply


class Interruption(Enum):
    """Reasons to interrupt a wait."""

    REREAD = "replies may have been lost: look into the projection"
    DRAIN = "the process ends: answer now"


Item = Envelope | Reply | Interruption


class PendingReply:
    """One request's wait. Delivers events, replies and interruptions in order."""

    def __init__(self) -> None:
        self._items: deque[Item] = deque()
        self._waiting: asyncio.Future[None] | None = None

    def deliver(self, item: Item) -> None:
        self._items.append(item)
        self._wake()

    async def next(self, deadline: float) -> Item | None:
        """The next item, or None at the deadline (loop time)."""
        if not self._items:
            loop = asyncio.get_running_loop()
            self._waiting = loop.create_future()
            timer = loop.call_at(deadline, self._wake)
            try:
                await self._waiting
            finally:
                timer.cancel()
                self._waiting = None
        return self._items.popleft() if self._items else None

    def _wake(self) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)


class PendingReplies:
    """All waits of this process, by message and command id."""

    def __init__(self) -> None:
        self._waits: defaultdict[UUID, set[PendingReply]] = defaultdict(set)
        self._draining = False

    @property
    def open_waits(self) -> int:
        """Number of ids with a wait."""
        return len(self._waits)

    @contextmanager
    def expect(self, *ids: UUID) -> Iterator[PendingReply]:
        """Receive, during the block, everything about these message or command ids."""
        wait = PendingReply()
        for key in ids:
            self._waits[key].add(wait)
        if self._draining:
            wait.deliver(Interruption.DRAIN)
        try:
            yield wait
        finally:
            for key in ids:
                self._waits[key].discard(wait)
                if not self._waits[key]:
                    del self._waits[key]

    def deliver_event(self, event: Envelope) -> None:
        message_id = getattr(event.data, "id", None)
        for wait in self._waits.get(event.causation_id, set()) | self._waits.get(
            message_id or event.causation_id, set()
        ):
            wait.deliver(event)

    def deliver_reply(self, reply: Reply) -> None:
        """Deliver a reply to the waits for its command."""
        for wait in self._waits.get(reply.command_id, set()):
            wait.deliver(reply)

    def interrupt_to_reread(self) -> None:
        """Replies may be lost: make every wait read the projection."""
        self._interrupt_all(Interruption.REREAD)

    def drain(self) -> None:
        """The process ends: end all current and future waits."""
        self._draining = True
        self._interrupt_all(Interruption.DRAIN)

    def _interrupt_all(self, interruption: Interruption) -> None:
        for wait in {wait for waits in self._waits.values() for wait in waits}:
            wait.deliver(interruption)
