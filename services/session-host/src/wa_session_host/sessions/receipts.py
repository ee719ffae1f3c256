"""Receipts for the messages of a session."""

from collections import deque
from dataclasses import replace
from datetime import timedelta

import structlog

from wa_contracts.ids import MessageId, SessionId, message_stream
from wa_contracts.message_events import MessageSent
from wa_contracts.session_events import Event
from wa_session_host.domain import message as domain
from wa_session_host.domain.changes import changes_by
from wa_session_host.domain.message import Sent, Unknown
from wa_session_host.domain.observations import ReceiptSeen
from wa_session_host.domain.proof import proven
from wa_session_host.domain.receipts import events_of
from wa_session_host.sessions.context import SessionContext
from wa_session_host.sessions.open_message import OpenMessage
from wa_session_host.sessions.tracked_message import TrackedMessage
from wa_session_host.store.stored_event import Append, StoredEvent, message_state

log = structlog.get_logger()

RETENTION_MARGIN = timedelta(hours=1)
"""Receipts are ignored from this time before a message's retention ends."""
PENDING_LIMIT = 500
"""Limit of receipts that wait for the end of the session's current send."""


class Receipts:
    """Records receipts of one session as events."""

    def __init__(self, session_id: SessionId, partition: int, context: SessionContext) -> None:
        """Sent messages outside the host's cache are read from the store."""
        self._session_id = session_id
        self._partition = partition
        self._store = context.store
        self._writer = context.writer
        self._clock = context.clock
        self._unreadable = context.metrics.unreadable
        self._addable_for = context.retention - RETENTION_MARGIN
        self._sent = context.sent_messages
        self._unknown: dict[MessageId, TrackedMessage] | None = None
        self._pending: deque[ReceiptSeen] = deque(maxlen=PENDING_LIMIT)

    async def record_outcome(self, message: OpenMessage, outcome: Event) -> None:
        """Track an ended send, then record the receipts that arrived before its end."""
        state = domain.evolve(message.state, outcome)
        if isinstance(state, Sent | Unknown):
            self._remember(
                TrackedMessage(
                    state,
                    message.version,
                    message.correlation_id,
                    message.causation_id,
                    self._clock(),
                )
            )
        pending = tuple(self._pending)
        self._pending.clear()
        for receipt in pending:
            await self.record_receipt(receipt, sending=False)

    async def record_receipt(self, receipt: ReceiptSeen, *, sending: bool) -> None:
        """Record a receipt for our messages; ignore other devices' messages.

        During a send (`sending`) an unknown id may belong to the current message, so the receipt
        waits.
        """
        unknown_ids = []
        for whatsapp_id in receipt.message_ids:
            message = self._sent.get(self, whatsapp_id) or await self._load(whatsapp_id)
            if message is None:
                unknown_ids.append(whatsapp_id)
            else:
                await self._record(message, receipt)
        if unknown_ids and sending:
            self._pending.append(replace(receipt, message_ids=tuple(unknown_ids)))
        elif unknown_ids:
            await self._prove(receipt, tuple(unknown_ids))

    async def _prove(self, receipt: ReceiptSeen, unknown_ids: tuple[str, ...]) -> None:
        """Resolve an unknown outcome by a receipt for an unknown id: it reached the recipient."""
        unknown = await self._unknown_outcomes()
        states = [one.state for one in unknown.values() if isinstance(one.state, Unknown)]
        found = proven(receipt, unknown_ids, states)
        if found is None:
            return
        state, sent = found
        if self._is_near_retention(unknown[state.facts.id]):
            return
        log.info("outcome_proven", session_id=str(self._session_id), message_id=str(state.facts.id))
        events = (sent, *await self._changes_by(sent))
        known = await self._append(unknown[state.facts.id], events)
        await self._record(known, receipt)

    async def _changes_by(self, sent: MessageSent) -> tuple[Event, ...]:
        if not sent.type.is_change:
            return ()
        content = await self._store.content(message_stream(sent.id))
        return changes_by(content.parts, sent)

    async def _record(self, known: TrackedMessage, receipt: ReceiptSeen) -> None:
        assert isinstance(known.state, Sent)
        events = events_of(known.state, receipt.kind, receipt.at)
        if events and not self._is_near_retention(known):
            self._unreadable.inc(int(receipt.kind == "unreadable"))
            await self._append(known, events)

    def _is_near_retention(self, known: TrackedMessage) -> bool:
        """Whether retention may be deleting the stream: no append is allowed then."""
        return known.changed_at < self._clock() - self._addable_for

    async def _append(self, known: TrackedMessage, events: tuple[Event, ...]) -> TrackedMessage:
        stored = await self._writer.append(
            Append(
                partition=self._partition,
                session_id=self._session_id,
                stream=message_stream(known.state.facts.id),
                expected_version=known.version,
                events=events,
                correlation_id=known.correlation_id,
                causation_id=known.causation_id,
            )
        )
        state: domain.State = known.state
        for event in events:
            state = domain.evolve(state, event)
        assert isinstance(state, Sent)
        last = stored[-1]
        now_known = TrackedMessage(
            state, last.stream_version, last.correlation_id, last.id, last.occurred_at
        )
        self._remember(now_known)
        return now_known

    async def _load(self, whatsapp_id: str) -> TrackedMessage | None:
        message_id = await self._store.message_of(self._session_id, whatsapp_id)
        if message_id is None:
            return None
        known = _tracked(await self._store.stream(message_stream(message_id)))
        return known if known is not None and isinstance(known.state, Sent) else None

    async def _unknown_outcomes(self) -> dict[MessageId, TrackedMessage]:
        """The session's messages with an unknown outcome; loaded from the store once."""
        if self._unknown is None:
            streams: dict[str, list[StoredEvent]] = {}
            for stored in await self._store.unknown_outcomes(self._session_id):
                streams.setdefault(stored.stream, []).append(stored)
            found = [
                known for events in streams.values() if (known := _tracked(events)) is not None
            ]
            self._unknown = {
                one.state.facts.id: one for one in found if isinstance(one.state, Unknown)
            }
        return self._unknown

    def _remember(self, known: TrackedMessage) -> None:
        """Cache a message's new state. An unloaded one is read from the store later."""
        unknown = self._unknown if self._unknown is not None else {}
        if isinstance(known.state, Unknown):
            unknown[known.state.facts.id] = known
            return
        unknown.pop(known.state.facts.id, None)
        self._sent.keep(self, known.state.message_id, known)


def _tracked(events: list[StoredEvent]) -> TrackedMessage | None:
    """A message from its stream; None if the message was certainly not sent."""
    state = message_state(events)
    if not isinstance(state, Sent | Unknown):
        return None
    last = events[-1]
    return TrackedMessage(
        state, last.stream_version, last.correlation_id, last.id, last.occurred_at
    )
