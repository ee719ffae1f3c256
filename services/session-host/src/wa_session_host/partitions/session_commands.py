"""Commands about a session: lifecycle and pairing code."""

from wa_contracts.internal.commands import CreateSession, RequestPairingCode
from wa_contracts.internal.refusals import SESSION_NOT_FOUND
from wa_contracts.internal.replies import ErrorDetail, PairingCode
from wa_session_host.domain.session import Command
from wa_session_host.engine.port import PairingUnavailable
from wa_session_host.partitions.partition import Partition


class SessionCommands:
    """Decides commands about the sessions of one partition."""

    def __init__(self, partition: Partition) -> None:
        self._partition = partition
        self._context = partition.context

    async def handle_lifecycle(self, command: Command) -> None:
        """Create, restart, stop, log out or delete. Without an effect the reply is empty."""
        if isinstance(command, CreateSession):
            owner = await self._partition.get_or_create_owner(command.session_id)
        else:
            owner = self._partition.owner(command.session_id)
            if owner is None:
                await self._context.outbox.reply(command, error=SESSION_NOT_FOUND)
                return
        changed = owner is not None and await owner.handle(command)
        if not changed:
            await self._context.outbox.reply(command)

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
