"""Intake of one partition: makes commands durable, then acknowledges them."""

import asyncio
from contextvars import Context, copy_context
from functools import partial
from uuid import UUID

import structlog
from opentelemetry.trace import SpanKind
from structlog.contextvars import bind_contextvars

from wa_contracts.codec import Undecodable, decode_command
from wa_contracts.internal.commands import (
    AnyCommand,
    AskWhatsApp,
    CancelMessage,
    FailMessage,
    FetchMedia,
    ReplayPartition,
    ReplaySession,
    RequestPairingCode,
    ResendMessage,
    SendMessage,
)
from wa_contracts.internal.replies import ErrorDetail
from wa_runtime.connection_loss import BrokerConnectionLost
from wa_runtime.deliveries import Delivery
from wa_runtime.fault_points import FaultPoint, are_set, reach
from wa_runtime.retries import until_available
from wa_runtime.traces import span
from wa_session_host.partitions.media_commands import MediaCommands
from wa_session_host.partitions.message_commands import MessageCommands
from wa_session_host.partitions.partition import Partition
from wa_session_host.partitions.question_commands import QuestionCommands
from wa_session_host.partitions.session_commands import SessionCommands
from wa_session_host.publishing.replay import Replays
from wa_session_host.store.stored_event import LeaseLost

log = structlog.get_logger()


TOO_LATE = ErrorDetail(code="expired", message="The command came too late.")
_OF_A_SESSION = (
    SendMessage,
    CancelMessage,
    ResendMessage,
    FetchMedia,
    AskWhatsApp,
    RequestPairingCode,
)


class _Line:
    """Deliveries of one queue that are not handled yet, each with its trace context."""

    def __init__(self, unacked: set[Delivery]) -> None:
        self._unacked = unacked
        self._deliveries: asyncio.Queue[tuple[Delivery, Context]] = asyncio.Queue()

    def enqueue(self, delivery: Delivery) -> None:
        """Consumer callback."""
        self._unacked.add(delivery)
        self._deliveries.put_nowait((delivery, copy_context()))

    async def next(self) -> tuple[Delivery, Context]:
        return await self._deliveries.get()


class Intake:
    """Handles the commands of one partition: each queue's in its order."""

    def __init__(self, partition: Partition) -> None:
        self._context = partition.context
        self._session = partition.context.session
        self._relay = partition.relay
        self._messages = MessageCommands(partition)
        self._sessions = SessionCommands(partition)
        self._replays = Replays(partition.context.session.store, partition.context.outbox)
        self._media = MediaCommands(partition)
        self._questions = QuestionCommands(partition)
        self._unacked: set[Delivery] = set()
        self.control = _Line(self._unacked)
        self.commands = _Line(self._unacked)

    async def run(self) -> None:
        """Handle deliveries until cancelled.

        Handlers start in queue order, and their appends keep that order. While the relay is full,
        commands wait in the broker; control commands, few and small, do not.
        """
        async with asyncio.TaskGroup() as group:
            group.create_task(self._handle_control(group))
            while True:
                delivery, came_in = await self.commands.next()
                await self._relay.wait_for_room()
                group.create_task(self._handle(delivery), context=came_in)

    async def _handle_control(self, group: asyncio.TaskGroup) -> None:
        while True:
            delivery, came_in = await self.control.next()
            group.create_task(self._handle(delivery), context=came_in)

    def requeue_unacked(self) -> None:
        """Requeue unacknowledged deliveries for the next owner."""
        for delivery in self._unacked:
            try:
                delivery.reject(requeue=True)
            except BrokerConnectionLost:
                continue  # the broker requeues them itself
        self._unacked.clear()

    async def _handle(self, delivery: Delivery) -> None:
        try:
            command = decode_command(delivery.body)
        except Undecodable as error:
            log.warning("command_undecodable", error=str(error))
            self._acknowledge(delivery, dead=True)
            return
        ids = _log_fields(command)
        bind_contextvars(**ids)  # the task's own context
        with span(command.type, ids, SpanKind.CONSUMER):
            await self._handle_command(delivery, command)

    async def _handle_command(self, delivery: Delivery, command: AnyCommand) -> None:
        if isinstance(command, FetchMedia | AskWhatsApp):
            self._acknowledge(delivery)  # long-running, and no other owner may repeat it
        try:
            await until_available("handle_command", partial(self._dispatch, command))
        except LeaseLost:
            return  # requeued, by this host or by the broker
        except Exception as error:
            log.exception("command_failed", command=command.type, error=repr(error))
            self._acknowledge(delivery, dead=True)
            return
        lag = self._session.clock() - command.issued_at
        self._session.metrics.intake_lag.observe(max(lag.total_seconds(), 0))
        self._acknowledge(delivery)
        if isinstance(command, SendMessage) and are_set():
            await delivery.writer.wait_written()
            reach(FaultPoint.COMMAND_ACKED)

    def _acknowledge(self, delivery: Delivery, *, dead: bool = False) -> None:
        if delivery not in self._unacked:
            return
        self._unacked.discard(delivery)
        try:
            if dead:
                delivery.reject(requeue=False)
            else:
                delivery.ack()
        except BrokerConnectionLost as error:
            log.info(
                "command_comes_again", reason=str(error)
            )  # the redelivery is recognised as a repeat

    async def _dispatch(self, command: AnyCommand) -> None:
        if not isinstance(command, SendMessage) and command.expires_at <= self._session.clock():
            await self._context.outbox.reply(command, error=TOO_LATE)
            return
        if isinstance(command, _OF_A_SESSION):
            await self._sessions.wait_created(command.session_id)
        await self._handle_by_type(command)

    async def _handle_by_type(self, command: AnyCommand) -> None:
        match command:
            case SendMessage():
                await self._messages.handle_send(command)
            case CancelMessage():
                await self._messages.handle_cancel(command)
            case ResendMessage():
                await self._messages.handle_resend(command)
            case FailMessage():
                await self._messages.handle_fail(command)
            case ReplaySession():
                await self._replays.replay_session(command)
            case ReplayPartition():
                await self._replays.replay_partition(command)
            case FetchMedia():
                await self._media.handle_fetch(command)
            case AskWhatsApp():
                await self._questions.handle_ask(command)
            case RequestPairingCode():
                await self._sessions.handle_pairing(command)
            case _:
                await self._sessions.handle_lifecycle(command)


def _log_fields(command: AnyCommand) -> dict[str, str]:
    """Fields of log lines and spans about a command."""
    if isinstance(command, SendMessage):
        return {"session_id": str(command.session_id), "message_id": str(command.message_id)}
    named = {name: getattr(command, name, None) for name in ("session_id", "message_id")}
    return {name: str(value) for name, value in named.items() if isinstance(value, UUID)}
