"""Commands about a session: lifecycle and pairing code."""

import asyncio
from collections import deque
from contextlib import AsyncExitStack
from functools import partial
from weakref import WeakValueDictionary

from wa_contracts.ids import CommandId, SessionId, session_stream
from wa_contracts.internal.commands import CreateSession, RequestPairingCode
from wa_contracts.internal.refusals import SESSION_NOT_FOUND
from wa_contracts.internal.replies import ErrorDetail, PairingCode
from wa_runtime.retries import until_available
from wa_session_host.domain.session import Command
from wa_session_host.engine.port import PairingUnavailable
from wa_session_host.partitions.partition import Partition

HANDLED_COMMANDS = 1000
"""Ids in memory, per partition. Older ones are found in the store if they had an effect."""


class _Turns(WeakValueDictionary[SessionId, asyncio.Lock]):
    """A lock per session, kept while somebody holds it or waits. Waiters proceed in order."""

    def of(self, session_id: SessionId) -> asyncio.Lock:
        turn = self.get(session_id)
        if turn is None:
            turn = self[session_id] = asyncio.Lock()
        return turn


class SessionCommands:
    """Decides commands about the sessions of one partition."""

    def __init__(self, partition: Partition) -> None:
        self._partition = partition
        self._context = partition.context
        self._store = partition.context.session.store
        self._turns = _Turns()
        self._creations = _Turns()
        self._handled: deque[CommandId] = deque(maxlen=HANDLED_COMMANDS)

    async def wait_created(self, session_id: SessionId) -> None:
        """Wait for a creation under way: commands that came after it need its session."""
        creation = self._creations.get(session_id)
        if creation is not None:
            async with creation:
                return

    async def handle_lifecycle(self, command: Command) -> None:
        """Create, restart, stop, log out or delete, in queue order per session, and once per id.

        An outage of the database keeps that order. Without an effect the reply is empty. A repeated
        creation is answered by its first event.
        """
        async with AsyncExitStack() as stack:
            if isinstance(command, CreateSession):
                await stack.enter_async_context(self._creations.of(command.session_id))
            await stack.enter_async_context(self._turns.of(command.session_id))
            await until_available("handle_command", partial(self._carry_out, command))

    async def _carry_out(self, command: Command) -> None:
        if isinstance(command, CreateSession):
            owner = await self._partition.get_or_create_owner(command.session_id)
            if owner is None:
                await self._context.outbox.reply(command)
            else:
                await owner.handle(command)
            return
        owner = self._partition.owner(command.session_id)
        if owner is None:
            await self._context.outbox.reply(command, error=SESSION_NOT_FOUND)
            return
        changed = not await self._is_repeat(command) and await owner.handle(command)
        self._handled.append(command.id)
        if not changed:
            await self._context.outbox.reply(command)

    async def _is_repeat(self, command: Command) -> bool:
        """Whether this command was carried out, by this host or a former owner."""
        return command.id in self._handled or await self._store.has_effect(
            session_stream(command.session_id), command.id
        )

    async def handle_pairing(self, command: RequestPairingCode) -> None:
        """Reply with a pairing code or an error."""
        owner = self._partition.owner(command.session_id)
        answer: PairingCode | ErrorDetail = SESSION_NOT_FOUND
        if owner is not None:
            try:
                answer = await owner.pairing_code(command.phone_number)
            except PairingUnavailable as error:
                answer = ErrorDetail(code="pairing_unavailable", message=str(error))
        if isinstance(answer, ErrorDetail):
            await self._context.outbox.reply(command, error=answer)
        else:
            await self._context.outbox.reply(command, pairing_code=answer)
