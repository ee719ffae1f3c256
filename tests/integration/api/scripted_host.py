"""A session-host as the api sees it: takes commands from the broker and answers as it is told."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import aio_pika
from aio_pika.abc import AbstractChannel, AbstractConnection, AbstractIncomingMessage

from wa_contracts.codec import decode_command, encode
from wa_contracts.envelope import Envelope
from wa_contracts.ids import EventId, MessageId, SessionId, new_id, session_stream
from wa_contracts.internal.bundle import BUNDLE, frame_bundle
from wa_contracts.internal.commands import (
    Command,
    CreateSession,
    DeleteSession,
    LogOutSession,
    RestartSession,
    SendMessage,
    SessionCommand,
    StopSession,
)
from wa_contracts.internal.heartbeat import Heartbeat, HostEngine
from wa_contracts.internal.replies import ErrorDetail, MessageSnapshot, MessageStatus, Reply
from wa_contracts.message_events import (
    MessageFailed,
    MessageOutcomeUnknown,
    MessageQueued,
    MessageSent,
)
from wa_contracts.session_events import (
    Event,
    SessionConnected,
    SessionCreated,
    SessionDeleted,
    SessionLoggedOut,
    SessionStarting,
    SessionStopped,
)
from wa_contracts.topology import (
    BUNDLES,
    EVENTS,
    HEARTBEATS,
    PARTITIONS,
    command_queue,
    control_queue,
    event_key,
)
from wa_runtime.topology_declaration import declare_topology

NUMBER = "447911123456"
Answer = Callable[[Any], Awaitable[None]]


class ScriptedHost:
    """Answers session commands as a healthy host would, and sends by `on_send`.

    `received` keeps every command; `answers` overrides what happens for a kind of command.
    """

    def __init__(self, connection: AbstractConnection, channel: AbstractChannel) -> None:
        self._connection = connection
        self._channel = channel
        self._sequences: defaultdict[UUID, int] = defaultdict(int)
        self._partitions = tuple(range(PARTITIONS))
        self.received: list[Command] = []
        self.snapshots: dict[UUID, tuple[str, MessageSnapshot]] = {}
        self.answers: dict[type[Command], Answer] = {}
        self.beating = True
        self.ahead = timedelta(0)

    async def consume(self) -> None:
        """Take commands from every partition."""
        for partition in range(PARTITIONS):
            for name in (control_queue(partition), command_queue(partition)):
                queue = await self._channel.get_queue(name, ensure=False)
                await queue.consume(self._on_command)

    async def beat(self) -> None:
        """Give signs of life, as long as `beating`."""
        while True:
            if self.beating:
                await self.heartbeat()
            await asyncio.sleep(0.5)

    async def heartbeat(self, *, leaving: bool = False) -> None:
        """One sign of life."""
        heartbeat = Heartbeat(
            host="scripted",
            sent_at=datetime.now(UTC) + self.ahead,
            partitions=self._partitions,
            sessions=0,
            good_for_seconds=6,
            leaving=leaving,
            engine=HostEngine(engine="neonize 0.5.2", client_version="2.3000.1047769893"),
        )
        exchange = await self._channel.get_exchange(HEARTBEATS, ensure=False)
        await exchange.publish(aio_pika.Message(encode(heartbeat)), "")

    def envelope(
        self, session_id: UUID, event: Event, *, causation: UUID | None = None
    ) -> Envelope:
        """The next event of a session."""
        self._sequences[session_id] += 1
        return Envelope(
            id=EventId(new_id()),
            type=event.TYPE,
            version=event.VERSION,
            session_id=SessionId(session_id),
            session_sequence=self._sequences[session_id],
            stream=session_stream(SessionId(session_id)),
            stream_version=self._sequences[session_id],
            occurred_at=datetime.now(UTC),
            correlation_id=causation or uuid4(),
            causation_id=causation or uuid4(),
            data=event,
        )

    async def publish(self, envelope: Envelope, *, reply_to: str | None = None) -> None:
        """Publish an event, with a copy to who waits for it, and a bundle of it."""
        bundle = frame_bundle([(envelope.session_sequence - 1, encode(envelope), None)])
        bundles = await self._channel.get_exchange(BUNDLES, ensure=False)
        await bundles.publish(aio_pika.Message(bundle, type=BUNDLE), "")
        message = aio_pika.Message(
            encode(envelope),
            type=envelope.type,
            message_id=str(envelope.id),
            headers={"BCC": [reply_to]} if reply_to else {},
        )
        exchange = await self._channel.get_exchange(EVENTS, ensure=False)
        await exchange.publish(message, event_key(envelope.session_id, envelope.type))

    async def happen(
        self, session_id: UUID, event: Event, *, cause: Command | None = None
    ) -> Envelope:
        """Something happens to a session; its cause hears of it."""
        envelope = self.envelope(session_id, event, causation=cause.id if cause else None)
        await self.publish(envelope, reply_to=cause.reply_to if cause else None)
        return envelope

    async def reply(self, command: Command, **content: Any) -> None:
        """Answer a command where no event does."""
        reply = Reply(command_id=command.id, **content)
        exchange = await self._channel.get_exchange(EVENTS, ensure=False)
        assert command.reply_to is not None
        await exchange.publish(aio_pika.Message(encode(reply), type="reply"), command.reply_to)

    async def refuse(self, command: Command, code: str) -> None:
        """Answer with an error."""
        await self.reply(command, error=ErrorDetail(code=code, message=f"Refused: {code}."))

    async def link(self, session_id: UUID) -> None:
        """The session's number is scanned and works."""
        now = datetime.now(UTC)
        await self.happen(session_id, SessionConnected(phone_number=NUMBER, connected_at=now))

    async def queued(self, command: SendMessage) -> None:
        """The message is durable. Its asynchronous sender hears of it."""
        event = MessageQueued(
            id=command.message_id,
            to=command.to,
            type=command.message_type,
            reference=command.reference,
            expires_at=command.expires_at,
        )
        cause = command if command.reply_on == "queued" else None
        await self.happen(command.session_id, event, cause=cause)
        self._keep(command, MessageStatus.QUEUED)

    async def sent(self, command: SendMessage, whatsapp_id: str = "3EB0601DAAF2EF6BE85000") -> None:
        """WhatsApp acknowledged it."""
        event = MessageSent(
            id=command.message_id,
            message_id=whatsapp_id,
            to=command.to,
            type=command.message_type,
            sent_at=datetime.now(UTC),
            reference=command.reference,
        )
        await self.happen(command.session_id, event, cause=command)
        self._keep(command, MessageStatus.SENT, whatsapp_id)

    async def failed(self, command: SendMessage, code: str) -> None:
        """It was not sent."""
        error = ErrorDetail(code=code, message=f"Failed: {code}.")
        event = MessageFailed(
            id=command.message_id, to=command.to, type=command.message_type, error=error
        )
        await self.happen(command.session_id, event, cause=command)
        self._keep(command, MessageStatus.FAILED, error=error)

    async def unknown(self, command: SendMessage) -> None:
        """Nobody knows."""
        error = ErrorDetail(code="outcome_unknown", message="The connection ended in the middle.")
        event = MessageOutcomeUnknown(
            id=command.message_id, to=command.to, type=command.message_type, error=error
        )
        await self.happen(command.session_id, event, cause=command)
        self._keep(command, MessageStatus.UNKNOWN, error=error)

    def commands(self, kind: type[Command]) -> list[Any]:
        """All commands of a kind that arrived."""
        return [command for command in self.received if isinstance(command, kind)]

    def _keep(
        self,
        command: SendMessage,
        status: MessageStatus,
        whatsapp_id: str | None = None,
        error: ErrorDetail | None = None,
    ) -> None:
        snapshot = MessageSnapshot(
            id=MessageId(command.message_id), message_id=whatsapp_id, status=status, error=error
        )
        self.snapshots[command.message_id] = (command.fingerprint, snapshot)

    async def _on_command(self, message: AbstractIncomingMessage) -> None:
        command = decode_command(message.body)
        assert message.message_id == str(command.id)
        assert message.type == command.type
        await message.ack()
        if isinstance(command, CreateSession) and command in self.received:
            return  # it comes through both queues
        self.received.append(command)
        answer = self.answers.get(type(command), self._answer)
        await answer(command)

    async def _answer(self, command: Command) -> None:
        assert isinstance(command, SessionCommand)
        session_id = command.session_id
        match command:
            case CreateSession(name=name):
                await self.happen(session_id, SessionCreated(name=name), cause=command)
            case RestartSession():
                await self.happen(session_id, SessionStarting(reason="operator"), cause=command)
            case StopSession():
                await self.happen(session_id, SessionStopped(), cause=command)
            case LogOutSession():
                await self.happen(session_id, SessionLoggedOut(reason="operator"), cause=command)
            case DeleteSession():
                await self.happen(session_id, SessionDeleted(), cause=command)
            case SendMessage():
                await self.send(command)

    async def send(self, command: SendMessage) -> None:
        """Send at once, or tell a repeat what became of the first."""
        known = self.snapshots.get(command.message_id)
        if known is None:
            await self.queued(command)
            await self.sent(command)
        elif known[0] != command.fingerprint:
            await self.refuse(command, "idempotency_conflict")
        else:
            await self.reply(command, message=known[1])


@asynccontextmanager
async def scripted_host(url: str) -> AsyncIterator[ScriptedHost]:
    """A host that consumes and gives signs of life during the block."""
    connection = await aio_pika.connect(url)
    async with connection:
        await declare_topology(connection)
        channel = await connection.channel()
        host = ScriptedHost(connection, channel)
        await host.consume()
        async with asyncio.TaskGroup() as group:
            beating = group.create_task(host.beat())
            yield host
            beating.cancel()
