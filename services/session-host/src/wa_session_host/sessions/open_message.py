"""A message that was queued and has not ended, as its owner holds it."""

import asyncio
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from wa_session_host.domain.message import Facts, Queued, Sending


@dataclass(eq=False)
class OpenMessage:
    """A message that has not ended, and where its stream stands."""

    state: Queued | Sending
    stream: str
    version: int
    queued_position: int
    correlation_id: UUID
    causation_id: UUID
    traceparent: str | None = None
    queued_at: datetime | None = None
    waiters: list[str] = field(default_factory=list)
    ending: asyncio.Event | None = None

    async def add_waiter(self, waiter: str | None) -> bool:
        """Let somebody more hear of the outcome; False if it is too late: it is stored by then."""
        if self.ending is not None:
            await self.ending.wait()
            return False
        if waiter is not None and waiter not in self.waiters:
            self.waiters.append(waiter)
        return True

    @property
    def facts(self) -> Facts:
        """What stays the same in the message's life."""
        return self.state.facts
