"""Commands about a session: lifecycle and pairing code."""

from wa_contracts.internal.commands import CreateSession, RequestPairingCode
from wa_contracts.internal.replies import ErrorDetail, PairingCode, Reply
from wa_session_host.domain.session import Command
from wa_session_host.engine.port import PairingUnavailable
from wa_session_host.partitions.partition import Partition

NO_SESSION = ErrorDetail(code="session_not_found", message="There is no such session.")


class SessionCommands:
    """Decides commands about the sessions of one partition."""

    def __init__(self, partition: Partition) -> None:
        """Commands act on the sessions of `partition`."""
        self._partition = partition
        self._context = partition.context

    async def handle_lifecycle(self, command: Command) -> None:
        """Create, restart, stop, log out or delete. Without an effect the reply is empty."""
        if isinstance(command, CreateSession):
            owner = self._partition.get_or_create_owner(command.session_id)
        else:
            known = self._partition.owner(command.session_id)
            if known is None:
                await self._context.outbox.answer(
                    command, Reply(command_id=command.id, error=NO_SESSION)
                )
                return
            owner = known
        changed = await owner.handle(command)
        if not changed:
            await self._context.outbox.answer(command, Reply(command_id=command.id))

    async def handle_pairing(self, command: RequestPairingCode) -> None:
        """Reply with a pairing code or an error."""
        owner = self._partition.owner(command.session_id)
        answer: PairingCode | ErrorDetail = NO_SESSION
        if owner is not None:
            try:
                answer = await owner.pairing_code(command.phone_number)
            except PairingUnavailable as error:
                answer = ErrorDetail(code="pairing_unavailable", message=str(error))
        if isinstance(answer, ErrorDetail):
            await self._context.outbox.answer(command, Reply(command_id=command.id, error=answer))
        else:
            await self._context.outbox.answer(
                command, Reply(command_id=command.id, pairing_code=answer)
            )
