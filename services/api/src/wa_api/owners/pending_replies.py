"""Requests that wait for what becomes of a command, and the ways in which they hear of it."""

import asyncio
from collections import defaultdict, deque
from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum
from uuid import UUID

from wa_contracts.envelope import Envelope
from wa_contracts.internal.replies import Reply


class Interruption(Enum):
    """Reasons to look up from waiting."""

    REREAD = "replies may have been lost: look into the projection"
    DRAIN = "the process ends: answer now"


Heard = Envelope | Reply | Interruption


class PendingReply:
    """One request's wait: what is heard comes out in order."""

    def __init__(self) -> None:
        self._heard: deque[Heard] = deque()
        self._waiting: asyncio.Future[None] | None = None

    def hear(self, heard: Heard) -> None:
        """Tell the waiting request."""
        self._heard.append(heard)
        self._wake()

    async def next(self, deadline: float) -> Heard | None:
        """The next thing heard, or None at the deadline (the loop's time)."""
        if not self._heard:
            loop = asyncio.get_running_loop()
            self._waiting = loop.create_future()
            timer = loop.call_at(deadline, self._wake)
            try:
                await self._waiting
            finally:
                timer.cancel()
                self._waiting = None
        return self._heard.popleft() if self._heard else None

    def _wake(self) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)


class PendingReplies:
    """All open waits of this process, by the ids of messages and commands."""

    def __init__(self) -> None:
        self._waits: defaultdict[UUID, set[PendingReply]] = defaultdict(set)
        self._draining = False

    @property
    def open_waits(self) -> int:
        """How many ids are waited for."""
        return len(self._waits)

    @contextmanager
    def expect(self, *ids: UUID) -> Iterator[PendingReply]:
        """Hear, during the block, what concerns these ids (of messages or commands)."""
        wait = PendingReply()
        for key in ids:
            self._waits[key].add(wait)
        if self._draining:
            wait.hear(Interruption.DRAIN)
        try:
            yield wait
        finally:
            for key in ids:
                self._waits[key].discard(wait)
                if not self._waits[key]:
                    del self._waits[key]

    def event(self, event: Envelope) -> None:
        """Pass an event on to who waits for its message or for the command that caused it."""
        message_id = getattr(event.data, "id", None)
        for wait in self._waits.get(event.causation_id, set()) | self._waits.get(
            message_id or event.causation_id, set()
        ):
            wait.hear(event)

    def reply(self, reply: Reply) -> None:
        """Pass a reply on to who waits for its command."""
        for wait in self._waits.get(reply.command_id, set()):
            wait.hear(reply)

    def reread(self) -> None:
        """Replies may have been missed: everybody looks into the projection."""
        self._tell_all(Interruption.REREAD)

    def drain(self) -> None:
        """The process ends: every wait, present and future, ends now."""
        self._draining = True
        self._tell_all(Interruption.DRAIN)

    def _tell_all(self, interruption: Interruption) -> None:
        for wait in {wait for waits in self._waits.values() for wait in waits}:
            wait.hear(interruption)
