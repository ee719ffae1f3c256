"""Short requests to a session's owner, with its answer."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any, TypeVar

from wa_api.owners.command_bus import CommandBus
from wa_api.owners.pending_replies import Interruption, PendingReplies, PendingReply
from wa_contracts.envelope import Envelope
from wa_contracts.ids import CommandId, SessionId, new_id
from wa_contracts.internal.commands import (
    AskWhatsApp,
    FetchMedia,
    RequestPairingCode,
    SessionCommand,
)
from wa_contracts.internal.replies import ErrorDetail, Reply

QUESTIONS = (RequestPairingCode, FetchMedia, AskWhatsApp)
"""Commands whose answer only the waiting caller can use."""
QUESTION_EXPIRES_IN = timedelta(seconds=30)
ORDER_EXPIRES_IN = timedelta(hours=24)
"""Life of all other commands: they are carried out when a host returns."""
CONFIRM_SECONDS = 5.0
PROJECTED_SECONDS = 2.0
_LOOK_EVERY_SECONDS = 0.02

AnyCommand = TypeVar("AnyCommand", bound=SessionCommand)


class OwnerRefused(Exception):
    """The owner refused the command. `retry_after_seconds`: when another try may help."""

    def __init__(self, error: ErrorDetail, retry_after_seconds: float | None = None) -> None:
        super().__init__(error.code)
        self.error = error
        self.retry_after_seconds = retry_after_seconds


class OwnerSilent(Exception):
    """The broker has the command, but no answer came in time. The command may still be handled."""


class OwnerRequests:
    """Publishes a command and waits for its answer."""

    def __init__(
        self,
        *,
        bus: CommandBus,
        pending: PendingReplies,
        applied_sequence: Callable[[SessionId], Awaitable[int]],
        reply_to: str,
        clock: Callable[[], datetime],
    ) -> None:
        """`applied_sequence` reads a session's projection checkpoint; `clock` is the hosts' time."""
        self._bus = bus
        self._pending = pending
        self._applied_sequence = applied_sequence
        self._reply_to = reply_to
        self._clock = clock

    def command(self, kind: type[AnyCommand], session_id: SessionId, **fields: Any) -> AnyCommand:
        """Create a command from this process, issued now."""
        now, command_id = self._clock(), CommandId(new_id())
        expires_in = QUESTION_EXPIRES_IN if kind in QUESTIONS else ORDER_EXPIRES_IN
        return kind(
            id=command_id,
            session_id=session_id,
            correlation_id=command_id,
            issued_at=now,
            expires_at=now + expires_in,
            reply_to=self._reply_to,
            **fields,
        )

    async def publish(self, command: SessionCommand) -> None:
        """Publish the command and wait for the broker's confirm only.

        Raises:
            BrokerUnavailable, ConfirmLost: See `CommandBus.publish`.
        """
        loop = asyncio.get_running_loop()
        await self._bus.publish(command, deadline=loop.time() + CONFIRM_SECONDS)

    @contextmanager
    def answers(self, command: SessionCommand) -> Iterator["Answers"]:
        """Receive the owner's answers to this command during the block."""
        with self._pending.expect(command.id) as wait:
            yield Answers(wait)

    async def ask(self, command: SessionCommand, *, seconds: float) -> Envelope | Reply:
        """Publish and wait for the answer, at most `seconds`.

        Raises:
            BrokerUnavailable, ConfirmLost: See `CommandBus.publish`.
            OwnerRefused, OwnerSilent: See `Answers.first`.
        """
        with self.answers(command) as answers:
            await self.publish(command)
            return await answers.first(seconds)

    async def projected(self, event: Envelope) -> bool:
        """Wait until the event is projected, so that the caller reads its own write.

        Returns False after 2 s.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + PROJECTED_SECONDS
        while await self._applied_sequence(event.session_id) < event.session_sequence:
            if loop.time() >= deadline:
                return False
            await asyncio.sleep(_LOOK_EVERY_SECONDS)
        return True


class Answers:
    """The owner's answers to one command."""

    def __init__(self, wait: PendingReply) -> None:
        self._wait = wait

    async def first(self, seconds: float) -> Envelope | Reply:
        """The event or reply that answers.

        Raises:
            OwnerRefused: With the owner's reason.
            OwnerSilent: No answer within `seconds`. The command may still be handled.
        """
        deadline = asyncio.get_running_loop().time() + seconds
        while True:
            item = await self._wait.next(deadline)
            if item is None or item is Interruption.DRAIN:
                raise OwnerSilent
            if isinstance(item, Reply) and item.error is not None:
                raise OwnerRefused(item.error, item.retry_after_seconds)
            if not isinstance(item, Interruption):
                return item
