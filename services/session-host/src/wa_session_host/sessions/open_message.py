"""A queued message that has not ended, and the appends to its stream."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Self
from uuid import UUID

from wa_contracts.ids import SessionId
from wa_contracts.session_events import Event
from wa_session_host.domain.message import Facts, Queued, Sending, expired, failed
from wa_session_host.domain.set_aside import SetAside
from wa_session_host.store.group_commit import GroupCommitWriter
from wa_session_host.store.stored_event import Append, StoredEvent


@dataclass(eq=False, slots=True)
class OpenMessage:
    """A message that has not ended, and the version of its stream.

    Its content is in the store: `content_bytes` is its size.
    """

    state: Queued | Sending
    stream: str
    version: int
    queued_position: int
    correlation_id: UUID
    causation_id: UUID
    content_bytes: int = 0
    traceparent: str | None = None
    queued_at: datetime | None = None
    waiters: list[str] = field(default_factory=list)
    ending: asyncio.Event | None = None
    aside: SetAside | None = None

    @classmethod
    def restored(
        cls, state: Queued | Sending, events: Sequence[StoredEvent], content_bytes: int
    ) -> Self:
        """The message of a stream with this state; `events` begin at or before its queueing."""
        queued, content = next(
            (one, found) for one in reversed(events) if (found := one.content) is not None
        )
        reply_to = content.reply_to
        return cls(
            state=state,
            stream=queued.stream,
            version=events[-1].stream_version,
            queued_position=queued.position,
            correlation_id=events[-1].correlation_id,
            causation_id=events[-1].id,
            content_bytes=content_bytes,
            traceparent=queued.traceparent,
            queued_at=queued.occurred_at,
            waiters=[reply_to] if reply_to else [],
        )

    async def add_waiter(self, waiter: str | None) -> bool:
        """Add a reply key for the outcome. False if the outcome is stored already."""
        if self.ending is not None:
            await self.ending.wait()
            return False
        if waiter is not None and waiter not in self.waiters:
            self.waiters.append(waiter)
        return True

    @property
    def facts(self) -> Facts:
        return self.state.facts

    def expired(self) -> Event:
        """Its end if it was not sent in time, with the reason why it waited."""
        text = "The message was not sent within its time."
        if self.aside is not None:
            text += f" Its last try: {self.aside.error.message}"
        error = expired(self.facts.type, text)
        return failed(self.facts, error.code, error.message)


class MessageAppender:
    """Appends events to the streams of one session's open messages."""

    def __init__(self, session_id: SessionId, partition: int, writer: GroupCommitWriter) -> None:
        self._session_id = session_id
        self._partition = partition
        self._writer = writer

    async def append(self, message: OpenMessage, *events: Event) -> None:
        """Store events and move the message to their version.

        Raises:
            LeaseLost: nothing was stored.
        """
        stored = await self._writer.append(
            Append(
                partition=self._partition,
                session_id=self._session_id,
                stream=message.stream,
                expected_version=message.version,
                events=events,
                correlation_id=message.correlation_id,
                causation_id=message.causation_id,
                reply_to=" ".join(message.waiters) or None,
            )
        )
        message.version = stored[-1].stream_version
        message.causation_id = stored[-1].id

    async def append_end(self, message: OpenMessage, *events: Event) -> None:
        """Store the message's last events. A later `add_waiter` returns False."""
        message.ending = asyncio.Event()
        try:
            await self.append(message, *events)
        finally:
            message.ending.set()
