"""Asking a session's owner for something short and waiting for the answer."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from wa_api.owners.command_bus import CommandBus
from wa_api.owners.pending_replies import Interruption, PendingReplies, PendingReply
from wa_contracts.envelope import Envelope
from wa_contracts.ids import CommandId, SessionId, new_id
from wa_contracts.internal.commands import SessionCommand
from wa_contracts.internal.replies import ErrorDetail, Reply

EXPIRES_IN = timedelta(seconds=30)
CONFIRM_SECONDS = 5.0
PROJECTED_SECONDS = 2.0
_LOOK_EVERY_SECONDS = 0.02

AnyCommand = TypeVar("AnyCommand", bound=SessionCommand)


class OwnerRefused(Exception):
    """The owner answered that it will not do it."""

    def __init__(self, error: ErrorDetail) -> None:
        super().__init__(error.code)
        self.error = error


class OwnerSilent(Exception):
    """The command is with the broker, but nobody answered in time. It expires unless taken up."""


class OwnerRequests:
    """One command, one answer."""

    def __init__(
        self,
        *,
        bus: CommandBus,
        pending: PendingReplies,
        applied_sequence: Callable[[SessionId], Awaitable[int]],
        reply_to: str,
    ) -> None:
        """`applied_sequence` reads how far a session is projected."""
        self._bus = bus
        self._pending = pending
        self._applied_sequence = applied_sequence
        self._reply_to = reply_to

    def command(self, kind: type[AnyCommand], session_id: SessionId, **fields: Any) -> AnyCommand:
        """A command of this kind from here, now."""
        now, command_id = datetime.now(UTC), CommandId(new_id())
        return kind(
            id=command_id,
            session_id=session_id,
            correlation_id=command_id,
            issued_at=now,
            expires_at=now + EXPIRES_IN,
            reply_to=self._reply_to,
            **fields,
        )

    async def publish(self, command: SessionCommand) -> None:
        """Hand the command to the broker and wait for nothing else.

        Raises:
            BrokerUnavailable, ConfirmLost: see `CommandBus.publish`.
        """
        loop = asyncio.get_running_loop()
        await self._bus.publish(command, deadline=loop.time() + CONFIRM_SECONDS)

    @contextmanager
    def answers(self, command: SessionCommand) -> Iterator["Answers"]:
        """Hear, during the block, what the owner answers to this command."""
        with self._pending.expect(command.id) as wait:
            yield Answers(wait)

    async def ask(self, command: SessionCommand, *, seconds: float) -> Envelope | Reply:
        """Publish and wait for the answer, at most so long.

        Raises:
            BrokerUnavailable, ConfirmLost: see `CommandBus.publish`.
            OwnerRefused, OwnerSilent: see `Answers.first`.
        """
        with self.answers(command) as answers:
            await self.publish(command)
            return await answers.first(seconds)

    async def projected(self, event: Envelope) -> bool:
        """Wait until the event shows in the projections, so that the caller reads its own write."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + PROJECTED_SECONDS
        while await self._applied_sequence(event.session_id) < event.session_sequence:
            if loop.time() >= deadline:
                return False
            await asyncio.sleep(_LOOK_EVERY_SECONDS)
        return True


class Answers:
    """What the owner answers to one command."""

    def __init__(self, wait: PendingReply) -> None:
        self._wait = wait

    async def first(self, seconds: float) -> Envelope | Reply:
        """The event or reply that answers.

        Raises:
            OwnerRefused: with the reason.
            OwnerSilent: no answer within `seconds`; it may still be done.
        """
        deadline = asyncio.get_running_loop().time() + seconds
        while True:
            heard = await self._wait.next(deadline)
            if heard is None or heard is Interruption.DRAIN:
                raise OwnerSilent
            if isinstance(heard, Reply) and heard.error is not None:
                raise OwnerRefused(heard.error)
            if not isinstance(heard, Interruption):
                return heard
