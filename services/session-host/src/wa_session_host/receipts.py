"""What arrives at a session: receipts for its messages, and messages for its number."""

from collections import OrderedDict
from dataclasses import dataclass
from uuid import UUID, uuid5

from wa_contracts.ids import MessageId, SessionId, message_stream, new_id
from wa_contracts.message_events import MessageReceived, MessageSent
from wa_session_host.domain import message as domain
from wa_session_host.domain.message import Sent
from wa_session_host.domain.observations import MessageSeen, ReceiptSeen
from wa_session_host.event_store import EventStore
from wa_session_host.folding import message_state
from wa_session_host.group_commit import GroupCommitWriter
from wa_session_host.runner import OpenMessage
from wa_session_host.stored_event import Append, VersionConflict

REMEMBERED = 500
"""Sent messages kept in memory per session; receipts for others are looked up in the store."""


@dataclass
class _SentMessage:
    state: Sent
    version: int
    correlation_id: UUID
    causation_id: UUID


class Receipts:
    """Turns receipts and incoming messages of one session into events."""

    def __init__(
        self, session_id: SessionId, partition: int, *, store: EventStore, writer: GroupCommitWriter
    ) -> None:
        """Reads from the store what it does not remember."""
        self._session_id = session_id
        self._partition = partition
        self._store = store
        self._writer = writer
        self._sent: OrderedDict[str, _SentMessage] = OrderedDict()
        self._early: OrderedDict[str, ReceiptSeen] = OrderedDict()

    async def sent(self, message: OpenMessage, event: MessageSent) -> None:
        """Remember a message that was sent; record a receipt that came before its ack."""
        state = Sent(message.facts, event.message_id)
        self._remember(
            event.message_id,
            _SentMessage(state, message.version, message.correlation_id, message.causation_id),
        )
        early = self._early.pop(event.message_id, None)
        if early is not None:
            await self.take(early, sending=False)

    async def take(self, receipt: ReceiptSeen, *, sending: bool) -> None:
        """Record what a receipt says of our messages; those of other devices are passed over.

        While a send is under way (`sending`) an unknown id may be that message's: it waits.
        """
        for whatsapp_id in receipt.message_ids:
            message = self._sent.get(whatsapp_id) or await self._load(whatsapp_id)
            if message is None:
                if sending:
                    self._early[whatsapp_id] = receipt
                    if len(self._early) > REMEMBERED:
                        self._early.popitem(last=False)
                continue
            await self._record(whatsapp_id, message, receipt)

    async def _record(self, whatsapp_id: str, message: _SentMessage, receipt: ReceiptSeen) -> None:
        events = domain.receipt(message.state, read=receipt.read, at=receipt.at)
        if not events:
            return
        stream = message_stream(message.state.facts.id)
        stored = await self._writer.append(
            Append(
                partition=self._partition,
                session_id=self._session_id,
                stream=stream,
                expected_version=message.version,
                events=events,
                correlation_id=message.correlation_id,
                causation_id=message.causation_id,
            )
        )
        state = domain.evolve(message.state, events[-1])
        assert isinstance(state, Sent)
        last = stored[-1]
        self._remember(
            whatsapp_id, _SentMessage(state, last.stream_version, last.correlation_id, last.id)
        )

    async def _load(self, whatsapp_id: str) -> _SentMessage | None:
        message_id = await self._store.message_of(self._session_id, whatsapp_id)
        if message_id is None:
            return None
        events = await self._store.stream(message_stream(message_id))
        state = message_state(events)
        if not isinstance(state, Sent):
            return None
        last = events[-1]
        return _SentMessage(state, last.stream_version, last.correlation_id, last.id)

    def _remember(self, whatsapp_id: str, message: _SentMessage) -> None:
        self._sent[whatsapp_id] = message
        self._sent.move_to_end(whatsapp_id)
        if len(self._sent) > REMEMBERED:
            self._sent.popitem(last=False)

    async def arrived(self, seen: MessageSeen) -> None:
        """Record an incoming message; one that WhatsApp delivers again is passed over."""
        message_id = MessageId(uuid5(self._session_id, f"{seen.chat}/{seen.message_id}"))
        cause = new_id()
        try:
            await self._writer.append(
                Append(
                    partition=self._partition,
                    session_id=self._session_id,
                    stream=message_stream(message_id),
                    expected_version=0,
                    events=(_received(message_id, seen),),
                    correlation_id=cause,
                    causation_id=cause,
                )
            )
        except VersionConflict:
            return


def _received(message_id: MessageId, seen: MessageSeen) -> MessageReceived:
    return MessageReceived(
        id=message_id,
        message_id=seen.message_id,
        chat=seen.chat,
        sender=seen.sender,
        sender_number=seen.sender_number,
        type=seen.kind,
        text=seen.text,
        media_mime_type=seen.media_mime_type,
        file_name=seen.file_name,
        quoted_message_id=seen.quoted_message_id,
        is_group=seen.is_group,
        received_at=seen.at,
    )
