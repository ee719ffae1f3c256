"""Commands about messages: send, cancel, resend, fail. Each ends in an append or a reply."""

from contextlib import suppress
from datetime import timedelta
from uuid import UUID

from wa_contracts.ids import MessageId, message_stream
from wa_contracts.internal.commands import (
    CancelMessage,
    FailMessage,
    ResendMessage,
    SendMessage,
)
from wa_contracts.internal.refusals import refusal
from wa_contracts.internal.replies import ErrorDetail, MessageSnapshot, MessageStatus
from wa_contracts.message_events import MessageQueued, MessageScheduled
from wa_contracts.session_events import Event
from wa_runtime.fault_points import FaultPoint, reach
from wa_session_host.domain import message as domain
from wa_session_host.domain.message import Content, MessageSendStarted
from wa_session_host.domain.snapshots import snapshot
from wa_session_host.partitions.named_messages import named_parts
from wa_session_host.partitions.partition import Partition
from wa_session_host.sessions.open_message import OpenMessage
from wa_session_host.sessions.owner import SessionOwner
from wa_session_host.sessions.runner import Runner
from wa_session_host.store.stored_event import (
    Append,
    StoredEvent,
    VersionConflict,
    message_state,
    queued_content,
)

RESEND_LIFE = timedelta(hours=24)
ATTEMPTS = 3

NO_MESSAGE = ErrorDetail(code="message_not_found", message="There is no such message.")
NOT_RESENDABLE = ErrorDetail(
    code="not_resendable", message="Only a failed, unknown or unreadable message can be sent again."
)
CHANGE_NOT_RESENDABLE = ErrorDetail(
    code="not_resendable",
    message="An edit or a deletion is not sent again: ask for a new one of the message itself.",
)
CONFLICT = ErrorDetail(
    code="idempotency_conflict",
    message="This Idempotency-Key was used with another body. Use a new key for a new message.",
)


class MessageCommands:
    """Decides commands about messages of one partition's sessions."""

    def __init__(self, partition: Partition) -> None:
        self._partition = partition
        self._context = partition.context
        self._session = partition.context.session

    async def handle_send(self, command: SendMessage) -> None:
        """Queue a message, refuse it, or answer a repeat."""
        reach(FaultPoint.COMMAND_RECEIVED)
        owner = self._partition.owner(command.session_id)
        if owner is not None and owner.runner.open_message(command.message_id) is not None:
            await self._answer_repeat(command, owner)
            return
        state: domain.State = domain.NotQueued()
        version = 0
        for _ in range(ATTEMPTS):
            try:
                await self._accept(command, owner, state, version)
            except VersionConflict:
                events = await self._session.store.stream(message_stream(command.message_id))
                state = message_state(events)
                version = events[-1].stream_version if events else 0
            else:
                return
        raise VersionConflict(message_stream(command.message_id))

    async def _accept(
        self, command: SendMessage, owner: SessionOwner | None, state: domain.State, version: int
    ) -> None:
        """Append the decided events, or reply.

        Raises:
            VersionConflict: the stream is not at `version`: reload and decide again.
        """
        decided = domain.decide_send(
            command,
            state,
            owner.status if owner is not None else None,
            room=owner is not None and self._takes(command, owner.runner),
            now=self._session.clock(),
        )
        if isinstance(decided, ErrorDetail):
            await self._context.outbox.reply(command, error=decided)
            return
        if not decided:
            await self._answer_repeat(command, owner)
            return
        if isinstance(decided[0], MessageScheduled) and owner is not None:
            with self._partition.schedule.place(command.session_id, decided[0].send_at):
                content = await self._content(command, owner)
                reply_to = command.reply_to
                await self._append(command, decided, version, content=content, reply_to=reply_to)
            return
        if isinstance(decided[0], MessageQueued) and owner is not None:
            await self._queue(command, owner, decided, version)
            return
        await self._append(command, decided, version, reply_to=command.reply_to)

    def _takes(self, command: SendMessage, runner: Runner) -> bool:
        """Whether the queue, or for a scheduled message the schedule, accepts a message."""
        if command.send_at is None or command.send_at <= self._session.clock():
            return self._has_room(runner)
        waiting = self._partition.schedule.number_of(command.session_id)
        return waiting < self._context.queue_limit

    def _has_room(self, runner: Runner) -> bool:
        """Whether the queue accepts a message. The last one may exceed the limit of bytes."""
        return (
            len(runner) < self._context.queue_limit
            and runner.content_bytes < self._context.queue_max_bytes
        )

    async def _queue(
        self, command: SendMessage, owner: SessionOwner, events: tuple[Event, ...], version: int
    ) -> None:
        """Store the intent. Without media, a message for an idle session starts in the same append."""
        waits_for_outcome = command.reply_on == "outcome"
        content = await self._content(command, owner)
        with owner.runner.reserve(content.size) as is_idle:
            if is_idle and not command.is_prepared:
                events = (*events, MessageSendStarted(started_at=self._session.clock()))
            stored = await self._append(
                command,
                events,
                version,
                content=content,
                reply_to=None if waits_for_outcome else command.reply_to,
            )
            reach(FaultPoint.INTENT_STORED)
            owner.runner.enqueue(_open_message(events, content, stored), content)

    async def _content(self, command: SendMessage, owner: SessionOwner) -> Content:
        return Content(
            text=command.text,
            media_url=command.media_url,
            media=command.media,
            file_name=command.file_name,
            parts=await named_parts(command, owner.state, self._session.store),
            fingerprint=command.fingerprint,
            reply_to=command.reply_to if command.reply_on == "outcome" else None,
        )

    async def _append(
        self,
        command: SendMessage | ResendMessage | FailMessage | CancelMessage,
        events: tuple[Event, ...],
        version: int,
        *,
        content: Content | None = None,
        reply_to: str | None,
    ) -> list[StoredEvent]:
        return await self._session.writer.append(
            Append(
                partition=self._partition.number,
                session_id=command.session_id,
                stream=message_stream(command.message_id),
                expected_version=version,
                events=events,
                correlation_id=command.correlation_id,
                causation_id=command.id,
                content=content,
                reply_to=reply_to,
            )
        )

    async def _answer_repeat(self, command: SendMessage, owner: SessionOwner | None) -> None:
        """Answer a repeated command with the first one's message in its current state.

        The sender of a repeat also gets the outcome of a message that is still open.
        """
        known = owner.runner.open_message(command.message_id) if owner is not None else None
        state: domain.State
        correlation_id: UUID | None
        if known is not None:
            state, correlation_id = known.state, known.correlation_id
        else:
            state, correlation_id = await self._stored(command)
        facts = None if isinstance(state, domain.NotQueued | domain.Refused) else state.facts
        if facts is not None and facts.fingerprint != command.fingerprint:
            await self._context.outbox.reply(command, error=CONFLICT)
            return
        if known is not None and not await known.add_waiter(command.reply_to):
            state, correlation_id = await self._stored(command)
        shown = snapshot(command.message_id, state)
        shown = shown.model_copy(update={"correlation_id": correlation_id})
        await self._context.outbox.reply(command, message=shown)

    async def _stored(self, command: SendMessage) -> tuple[domain.State, UUID | None]:
        """The message's state, and the request that it belongs to."""
        events = await self._session.store.stream(message_stream(command.message_id))
        return message_state(events), events[-1].correlation_id if events else None

    async def handle_cancel(self, command: CancelMessage) -> None:
        """Cancel a queued or scheduled message."""
        owner = self._partition.owner(command.session_id)
        for _ in range(ATTEMPTS):
            if owner is not None and await owner.runner.cancel(
                command.message_id, command.id, command.reply_to
            ):
                return
            events = await self._session.store.stream(message_stream(command.message_id))
            if not events or events[0].session_id != command.session_id:
                await self._context.outbox.reply(command, error=NO_MESSAGE)
                return
            state = message_state(events)
            if not isinstance(state, domain.Scheduled):
                error = _not_cancellable(snapshot(command.message_id, state))
                await self._context.outbox.reply(command, error=error)
                return
            with suppress(VersionConflict):  # its time has come
                await self._cancel_scheduled(command, events, state)
                return
        raise VersionConflict(message_stream(command.message_id))

    async def _cancel_scheduled(
        self, command: CancelMessage, events: list[StoredEvent], state: domain.Scheduled
    ) -> None:
        await self._append(
            command,
            (domain.cancelled(state.facts),),
            events[-1].stream_version,
            reply_to=command.reply_to,
        )
        self._partition.schedule.ended(command.session_id)

    async def handle_resend(self, command: ResendMessage) -> None:
        """Queue the content of a failed, unknown or unreadable message as a new one, or answer a repeat."""
        made = await self._session.store.stream(message_stream(command.message_id))
        if made:
            error = None if _is_resend_of(made[0].event, command.resend_of) else CONFLICT
            await self._context.outbox.reply(command, error=error)
            return
        owner = self._partition.owner(command.session_id)
        events = await self._session.store.stream(message_stream(command.resend_of))
        original = message_state(events)
        error = self._resend_refusal(command, owner, events, original)
        if error is not None or owner is None:
            await self._context.outbox.reply(command, error=error)
            return
        assert isinstance(original, domain.Failed | domain.Unknown | domain.Sent)
        content = _without_waiter(queued_content(events))
        queued = MessageQueued(
            id=command.message_id,
            to=original.facts.to,
            type=original.facts.type,
            reference=original.facts.reference,
            expires_at=self._session.clock() + RESEND_LIFE,
            resend_of=command.resend_of,
        )
        with owner.runner.reserve(content.size):
            try:
                stored = await self._append(
                    command, (queued,), 0, content=content, reply_to=command.reply_to
                )
            except VersionConflict:  # a repeat at the same time
                await self._context.outbox.reply(command)
                return
            owner.runner.enqueue(_open_message((queued,), content, stored), content)

    def _resend_refusal(
        self,
        command: ResendMessage,
        owner: SessionOwner | None,
        events: list[StoredEvent],
        original: domain.State,
    ) -> ErrorDetail | None:
        if owner is None or not events or events[0].session_id != command.session_id:
            return NO_MESSAGE
        if not isinstance(original, domain.Failed | domain.Unknown | domain.Sent) or (
            isinstance(original, domain.Sent) and not original.is_unreadable
        ):
            return NOT_RESENDABLE
        if original.facts.type.is_change:
            return CHANGE_NOT_RESENDABLE
        return refusal(owner.status) or (
            None if self._has_room(owner.runner) else domain.QUEUE_FULL
        )

    async def handle_fail(self, command: FailMessage) -> None:
        """End a dead-lettered send without a stored message."""
        state = message_state(await self._session.store.stream(message_stream(command.message_id)))
        events = domain.decide_fail(command, state)
        if events:
            await self._append(command, events, 0, reply_to=command.reply_to)


def _is_resend_of(event: Event, message_id: MessageId) -> bool:
    return isinstance(event, MessageQueued) and event.resend_of == message_id


def _not_cancellable(message: MessageSnapshot) -> ErrorDetail:
    """Its turn has come (the media is being fetched, or it is with WhatsApp), or it has ended."""
    is_under_way = message.status is MessageStatus.QUEUED
    state = "being sent" if is_under_way else message.status.value
    return ErrorDetail(
        code="not_cancellable",
        message=f"Only a message that waits for its turn can be cancelled: this one is {state}.",
    )


def _without_waiter(content: Content) -> Content:
    """The same content without a waiting request."""
    return content.model_copy(update={"reply_to": None})


def _open_message(
    events: tuple[Event, ...], content: Content, stored: list[StoredEvent]
) -> OpenMessage:
    state: domain.State = domain.NotQueued()
    for event in events:
        state = domain.evolve(state, event, content)
    assert isinstance(state, domain.Queued | domain.Sending)
    return OpenMessage.restored(state, stored, content.size)
