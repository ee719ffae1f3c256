"""Questions of the api to WhatsApp, through the partition's sessions."""

from wa_contracts.internal.commands import AskWhatsApp
from wa_contracts.internal.questions import MarkRead, Question
from wa_contracts.internal.refusals import SESSION_NOT_FOUND
from wa_contracts.internal.replies import ErrorDetail
from wa_session_host.engine.port import AskFailed
from wa_session_host.partitions.named_messages import received
from wa_session_host.partitions.partition import Partition


class QuestionCommands:
    """Asks, and replies with the answer or the error."""

    def __init__(self, partition: Partition) -> None:
        self._partition = partition
        self._outbox = partition.context.outbox
        self._store = partition.context.session.store

    async def handle_ask(self, command: AskWhatsApp) -> None:
        """Answer a question."""
        owner = self._partition.owner(command.session_id)
        if owner is None:
            await self._outbox.reply(command, error=SESSION_NOT_FOUND)
            return
        try:
            answer = await owner.calls.ask(await self._complete(command))
        except AskFailed as error:
            await self._outbox.reply(
                command,
                error=ErrorDetail(code=error.code, message=str(error)),
                retry_after_seconds=error.retry_after_seconds,
            )
        else:
            await self._outbox.reply(command, answer=answer)

    async def _complete(self, command: AskWhatsApp) -> Question:
        """The question with chat and sender of the message that it names."""
        question = command.question
        if not isinstance(question, MarkRead) or question.of.id is None:
            return question
        found = await received(self._store, command.session_id, question.of.id)
        if found is None:
            raise AskFailed("message_not_found", "There is no such message.")
        of = question.of.model_copy(update={"sender": found.sender})
        return question.model_copy(update={"of": of, "chat": found.chat})
