"""Sends a message: publishes the command and waits for its outcome."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from structlog.contextvars import bind_contextvars

from wa_api.database.pool import DatabaseUnavailable
from wa_api.messages.parts import LookUp, parts_of_send
from wa_api.messages.send_request import SendRequest
from wa_api.messages.views import MessageViews
from wa_api.owners.command_bus import BrokerUnavailable, CommandBus, ConfirmLost
from wa_api.owners.pending_replies import Interruption, PendingReplies, PendingReply
from wa_contracts.envelope import Envelope
from wa_contracts.ids import CommandId, MessageId, SessionId, message_id_for_key, new_id
from wa_contracts.internal.commands import SendMessage
from wa_contracts.internal.content import StoredMedia
from wa_contracts.internal.replies import ErrorDetail, MessageSnapshot, MessageStatus, Reply
from wa_contracts.message_events import (
    MessageCancelled,
    MessageFailed,
    MessageOutcomeUnknown,
    MessageQueued,
    MessageScheduled,
    MessageSent,
)
from wa_runtime.traces import span

CONFLICT_WAIT_SECONDS = 2.0
"""How long an asynchronous send with a key waits for a conflict or an earlier response."""


@dataclass(frozen=True)
class SendOptions:
    """Options from the request's headers."""

    idempotency_key: str | None
    respond_async: bool
    expires_in: timedelta


@dataclass(frozen=True)
class Sent:
    """WhatsApp acknowledged the message under `whatsapp_id`."""

    whatsapp_id: str


@dataclass(frozen=True)
class Scheduled:
    """The message is durable, and is sent at its time."""


@dataclass(frozen=True)
class Queued:
    """The message is durable; its outcome is not known yet."""


@dataclass(frozen=True)
class Refused:
    """The message was not sent and will not be."""

    error: ErrorDetail


@dataclass(frozen=True)
class Unknown:
    """The outcome is unknown: the message may have been sent or accepted."""


Outcome = Sent | Scheduled | Queued | Refused | Unknown


@dataclass(frozen=True)
class SendResult:
    """`replayed`: the result is that of an earlier request with the same key."""

    message_id: MessageId
    outcome: Outcome
    replayed: bool = False


def accepted(command: SendMessage) -> Scheduled | Queued:
    """What becomes of a command that the broker has."""
    return Queued() if command.send_at is None else Scheduled()


class Sending:
    """Sends for all sessions.

    `look_up` finds messages by id, `reply_to` is this process's reply key, `clock` the hosts' time.
    """

    def __init__(
        self,
        *,
        look_up: LookUp,
        bus: CommandBus,
        pending: PendingReplies,
        views: MessageViews,
        reply_to: str,
        wait_seconds: float,
        clock: Callable[[], datetime],
    ) -> None:
        self._look_up = look_up
        self._bus = bus
        self._pending = pending
        self._views = views
        self._reply_to = reply_to
        self._wait_seconds = wait_seconds
        self._clock = clock

    async def send(
        self,
        session_id: SessionId,
        request: SendRequest,
        options: SendOptions,
        media: StoredMedia | None = None,
    ) -> SendResult:
        """Send one message and wait for its outcome, at most `wait_seconds`.

        `media` is the upload that it sends, if any.

        Raises:
            BrokerUnavailable: Nothing was written.
            Problem: The message to quote or to react to is unknown.
            DatabaseUnavailable: That message cannot be looked up.
        """
        parts = await parts_of_send(request, self._look_up, session_id)
        command = self.command(
            session_id,
            options,
            to=request.to,
            message_type=request.type,
            text=request.message,
            media_url=request.media_url if request.type.has_media and media is None else None,
            media=media,
            file_name=request.file_name,
            parts=parts,
            reference=request.reference,
            fingerprint=request.fingerprint(),
            send_at=request.send_at,
        )
        return await self.perform(command, options)

    async def perform(self, command: SendMessage, options: SendOptions) -> SendResult:
        """Publish a command and wait for its outcome, at most `wait_seconds`.

        Raises:
            BrokerUnavailable: Nothing was written.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._wait_seconds
        ids = {"session_id": str(command.session_id), "message_id": str(command.message_id)}
        bind_contextvars(**ids)  # the context of this request
        with (
            span("send", ids),
            self._pending.expect(command.message_id, command.id) as wait,
        ):
            try:
                written = await self._bus.publish(command, deadline=deadline)
            except ConfirmLost:
                return SendResult(command.message_id, Unknown())
            if options.respond_async:
                if not options.idempotency_key:
                    return SendResult(command.message_id, accepted(command))
                deadline = loop.time() + CONFLICT_WAIT_SECONDS
            is_keyed = options.idempotency_key is not None
            listener = _Listener(command, self._views, wait, is_keyed, is_alone=written == 1)
            ask_again = partial(self._publish_again, command, deadline)
            return await listener.result(deadline, ask_again)

    async def _publish_again(self, command: SendMessage, deadline: float) -> None:
        """Have the owner answer once more. Without the broker, its return asks again."""
        with suppress(BrokerUnavailable, ConfirmLost):
            await self._bus.publish(command, deadline=deadline)

    def command(self, session_id: SessionId, options: SendOptions, **content: Any) -> SendMessage:
        """A command with this content, issued now. Its life begins with its `send_at`."""
        key, now = options.idempotency_key, self._clock()
        command_id = CommandId(new_id())
        wants_reply = key is not None or not options.respond_async
        return SendMessage(
            id=command_id,
            session_id=session_id,
            correlation_id=command_id,
            issued_at=now,
            expires_at=(content.get("send_at") or now) + options.expires_in,
            reply_to=self._reply_to if wants_reply else None,
            reply_on="queued" if options.respond_async or content.get("send_at") else "outcome",
            message_id=message_id_for_key(session_id, key) if key else MessageId(new_id()),
            **content,
        )


class _Listener:
    """Derives the result of one command from its events and replies."""

    def __init__(
        self,
        command: SendMessage,
        views: MessageViews,
        wait: PendingReply,
        may_replay: bool,
        *,
        is_alone: bool,
    ) -> None:
        """`may_replay`: the request has a key. `is_alone`: the command was published once."""
        self._command = command
        self._views = views
        self._wait = wait
        self._may_replay = may_replay
        self._is_alone = is_alone
        self._replayed = False

    async def result(self, deadline: float, ask_again: Callable[[], Awaitable[None]]) -> SendResult:
        """The outcome, or Queued at the `deadline` (loop time).

        Only the owner knows whether an earlier request with this key had the same body: where its
        reply may be lost, `ask_again` has it answer once more.
        """
        while True:
            item = await self._wait.next(deadline)
            match item:
                case Envelope():
                    outcome = self._of_event(item)
                case Reply():
                    outcome = self._of_reply(item)
                case Interruption.DRAIN:
                    outcome = accepted(self._command)
                case Interruption.REREAD:
                    outcome = await self._projected()
                    if outcome is None and self._may_replay:
                        await ask_again()
                case None:
                    outcome = await self._projected() or accepted(self._command)
            if outcome is not None:
                return SendResult(self._command.message_id, outcome, self._replayed)

    def _of_event(self, event: Envelope) -> Outcome | None:
        # Events of an earlier request with this key have that request's correlation id.
        is_of_earlier = event.correlation_id != self._command.correlation_id
        self._replayed = self._replayed or (self._may_replay and is_of_earlier)
        match event.data:
            case MessageSent() as sent:
                return Sent(sent.message_id)
            case MessageFailed() as failed:
                return Refused(failed.error)
            case MessageOutcomeUnknown():
                return Unknown()
            case MessageCancelled():
                return Refused(_CANCELLED)
            case MessageScheduled():
                return Scheduled()
            case MessageQueued() if self._command.reply_on == "queued":
                return Queued()
            case _:
                return None

    def _of_reply(self, reply: Reply) -> Outcome | None:
        if reply.error is not None:
            return Refused(reply.error)
        if reply.message is None:
            return None
        outcome = self._of_snapshot(reply.message)
        if isinstance(outcome, Queued) and self._command.reply_on == "outcome":
            return None
        return outcome

    def _of_snapshot(self, message: MessageSnapshot) -> Outcome:
        self._replayed = self._may_replay and self._is_of_earlier(message)
        return _outcome(message)

    def _is_of_earlier(self, message: MessageSnapshot) -> bool:
        """Whether an earlier request with this key made the message.

        A reply may also answer the second copy of this very command.
        """
        if message.correlation_id is None:  # from a host, or a row, of an earlier version
            return self._is_alone
        return message.correlation_id != self._command.correlation_id

    async def _projected(self) -> Outcome | None:
        """The projected outcome of this request; None if it is an earlier one's with this key."""
        try:
            message = await self._views.snapshot(self._command.message_id, self._command.session_id)
        except DatabaseUnavailable:
            return None
        if message is None or message.status is MessageStatus.QUEUED:
            return None
        if self._may_replay and self._is_of_earlier(message):
            return None
        return self._of_snapshot(message)


_CANCELLED = ErrorDetail(
    code="message_cancelled", message="The message was cancelled before it was sent."
)
_FAILED = ErrorDetail(code="send_failed", message="The message was not sent.")


def _outcome(message: MessageSnapshot) -> Outcome:
    match message.status:
        case MessageStatus.SENT | MessageStatus.DELIVERED | MessageStatus.READ:
            return Sent(message.message_id or "")
        case MessageStatus.FAILED:
            return Refused(message.error or _FAILED)
        case MessageStatus.UNKNOWN:
            return Unknown()
        case MessageStatus.CANCELLED:
            return Refused(_CANCELLED)
        case MessageStatus.SCHEDULED:
            return Scheduled()
        case MessageStatus.QUEUED:
            return Queued()
