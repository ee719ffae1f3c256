"""Receipts that come before the ack of their send; on a real Postgres."""

from uuid import UUID, uuid4

from tests.integration.host.owner import Owner, now, queued, session_context
from wa_contracts.ids import MessageId, SessionId, message_stream
from wa_session_host.domain import message as domain
from wa_session_host.domain.message import MessageSendStarted, Sending
from wa_session_host.domain.observations import ReceiptKind, ReceiptSeen
from wa_session_host.sessions.open_message import OpenMessage
from wa_session_host.sessions.receipts import Receipts
from wa_session_host.store.event_store import EventStore
from wa_session_host.store.stored_event import message_state

SESSION = SessionId(UUID(int=3))
WHATSAPP_ID = "3EB0601DAAF2EF6BE85000"


async def test_both_receipts_of_a_message_survive_its_send(owner: Owner, store: EventStore) -> None:
    event = queued(MessageId(uuid4()))
    stream = message_stream(event.id)
    stored = await owner.append(SESSION, stream, 0, event, MessageSendStarted(started_at=now()))
    state = message_state(stored)
    assert isinstance(state, Sending)
    receipts = Receipts(SESSION, 1, session_context(owner, store))
    kinds: tuple[ReceiptKind, ...] = ("delivered", "read")
    for kind in kinds:
        seen = ReceiptSeen(("1@lid",), (WHATSAPP_ID,), kind, at=now())
        await receipts.record_receipt(seen, sending=True)
    sent = domain.sent(state.facts, WHATSAPP_ID, now())
    [last] = await owner.append(SESSION, stream, 2, sent)
    message = OpenMessage(state, stream, 3, stored[0].position, last.correlation_id, last.id)
    await receipts.record_outcome(message, sent)
    types = [one.type for one in await store.stream(stream)]
    assert types[-2:] == ["message.delivered", "message.read"]
