"""What retention removes from the event store and what it keeps, each rule one case."""

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest

from tests.integration.host.owner import HOST, Owner, now, queued, session_context
from wa_contracts.call_events import CallEnded, CallReceived
from wa_contracts.ids import MessageId, SessionId, call_stream, message_stream, session_stream
from wa_contracts.internal.commands import MessageType
from wa_contracts.internal.replies import ErrorDetail
from wa_contracts.message_events import MessageFailed, MessageReceived
from wa_contracts.session_events import (
    Event,
    SessionConnected,
    SessionCreated,
    SessionDeleted,
    SessionDisconnected,
    SessionLoggedOut,
    SessionStopped,
)
from wa_session_host.domain import message as domain
from wa_session_host.domain import session as session_domain
from wa_session_host.domain.message import Facts, MessageSendStarted
from wa_session_host.domain.observations import ReceiptSeen
from wa_session_host.domain.session import SessionLinked
from wa_session_host.sessions.receipts import Receipts
from wa_session_host.store.event_store import EventStore, RelayCheckpoint
from wa_session_host.store.group_commit import LAST_SEQUENCES
from wa_session_host.store.retention import StreamRetention
from wa_session_host.store.stored_event import message_state

SESSION = SessionId(UUID(int=7))
PARTITION = 1
KEEP = timedelta(days=30)
REFUSED = ErrorDetail(code="session_scan_qr", message="Not linked yet.")
LATER = timedelta(days=31)


class StoredSession:
    """A partition with one session; the clock is a parameter."""

    def __init__(self, owner: Owner, pool: "asyncpg.Pool[asyncpg.Record]") -> None:
        self.owner = owner
        self.pool = pool
        self.store = EventStore(pool, HOST)

    async def message(self, *events: Event, message_id: MessageId | None = None) -> str:
        """A message stream with these events; without any: queued, started and sent."""
        id_ = message_id or MessageId(uuid4())
        first = queued(id_)
        facts = Facts(id_, first.to, MessageType.TEXT, None, first.expires_at)
        life = events or (
            first,
            MessageSendStarted(started_at=now()),
            domain.sent(facts, f"3EB0{id_}", now()),
        )
        await self.owner.append(SESSION, message_stream(id_), 0, *life)
        return message_stream(id_)

    async def end_with(self, event: Event) -> None:
        """The session's newest event, so that no message has the highest sequence."""
        version = (await self.store.stream(session_stream(SESSION)))[-1].stream_version
        await self.owner.append(SESSION, session_stream(SESSION), version, event)

    async def relay_all(self) -> None:
        """Mark everything as relayed."""
        relayed = self.owner.relayed[-1].position
        token = self.owner.claims[PARTITION].token
        await self.store.save_checkpoints(
            [RelayCheckpoint(PARTITION, token, relayed=relayed, open=0)]
        )

    async def remove(self, at: datetime, *, host: str = HOST, keep: timedelta = KEEP) -> int:
        """One pass of retention."""
        token = self.owner.claims[PARTITION].token
        return await StreamRetention(self.pool, host, keep).remove(PARTITION, token, at)

    async def session(self) -> session_domain.State:
        """The session's state, folded from what is stored."""
        state: session_domain.State = session_domain.NotCreated()
        for stored in await self.store.stream(session_stream(SESSION)):
            state = session_domain.evolve(state, stored.event)
        return state

    async def last_sequence(self) -> int:
        """The session's."""
        [row] = await self.pool.fetch(LAST_SEQUENCES, [SESSION])
        return int(row["sequence"])

    async def streams(self) -> set[str]:
        """What is stored."""
        rows = await self.pool.fetch("SELECT DISTINCT stream FROM events")
        return {row["stream"] for row in rows}


@pytest.fixture
async def stored_session(owner: Owner, pool: "asyncpg.Pool[asyncpg.Record]") -> StoredSession:
    """A created session."""
    made = StoredSession(owner, pool)
    await owner.append(SESSION, session_stream(SESSION), 0, SessionCreated())
    return made


def failed(message_id: MessageId) -> MessageFailed:
    """Refused by the session's state."""
    return MessageFailed(id=message_id, to="919876543210", type=MessageType.TEXT, error=REFUSED)


def received() -> MessageReceived:
    """An incoming message."""
    return MessageReceived(
        id=MessageId(uuid4()),
        message_id="3A",
        chat="1@lid",
        sender="1@lid",
        sender_number=None,
        type="text",
        text="Hello!",
        received_at=now(),
    )


async def test_finished_streams_go_as_a_whole_and_session_streams_stay(
    stored_session: StoredSession,
) -> None:
    incoming = received()
    refused = MessageId(uuid4())
    await stored_session.message()
    await stored_session.message(incoming, message_id=incoming.id)
    await stored_session.message(failed(refused), message_id=refused)
    await stored_session.end_with(SessionStopped())
    await stored_session.relay_all()
    assert await stored_session.remove(now() + LATER) == 3
    assert await stored_session.streams() == {session_stream(SESSION)}


async def test_a_call_goes_with_its_end(stored_session: StoredSession) -> None:
    id_ = uuid4()
    about: dict[str, Any] = {"id": id_, "call_id": "C1", "caller": "1@lid"}
    for version, event in enumerate(
        (CallReceived(**about, received_at=now()), CallEnded(**about, ended_at=now()))
    ):
        await stored_session.owner.append(SESSION, call_stream(id_), version, event)
    await stored_session.end_with(SessionStopped())
    await stored_session.relay_all()
    assert await stored_session.remove(now() + LATER) == 1
    assert await stored_session.streams() == {session_stream(SESSION)}


async def _aged(stored_session: StoredSession) -> None:
    """Make all that is stored older than the retention."""
    await stored_session.pool.execute(
        "UPDATE events SET occurred_at = occurred_at - $1::interval", LATER
    )


async def test_of_a_session_the_newest_event_of_each_type_stays(
    stored_session: StoredSession,
) -> None:
    linked = SessionLinked(jid="15550001111:1@s.whatsapp.net", phone_number="15550001111")
    await stored_session.end_with(linked)
    for _ in range(300):  # its connection comes and goes
        await stored_session.end_with(SessionDisconnected(reason="connection_lost", message=""))
        await stored_session.end_with(
            SessionConnected(phone_number="15550001111", connected_at=now())
        )
    await stored_session.relay_all()
    await _aged(stored_session)
    await stored_session.end_with(SessionConnected(phone_number="15550001111", connected_at=now()))
    before = await stored_session.session()
    assert await stored_session.remove(now()) == 0
    kept = await stored_session.store.stream(session_stream(SESSION))
    assert [one.type for one in kept] == [
        *("session.created", "session.linked", "session.disconnected"),
        *("session.connected", "session.connected"),
    ], "the newest is not relayed yet: the one before it stays"
    assert await stored_session.session() == before
    await stored_session.relay_all()
    await stored_session.remove(now())
    assert len(await stored_session.store.stream(session_stream(SESSION))) == 4
    assert await stored_session.session() == before
    await stored_session.end_with(SessionStopped())
    assert (await stored_session.last_sequence()) == 603


async def test_a_young_event_of_a_session_stays(stored_session: StoredSession) -> None:
    for _ in range(3):
        await stored_session.end_with(SessionStopped())
    await stored_session.relay_all()
    await stored_session.remove(now() + KEEP - timedelta(minutes=1))
    assert len(await stored_session.store.stream(session_stream(SESSION))) == 4


async def test_of_a_deleted_session_no_number_and_no_message_is_left(
    stored_session: StoredSession,
) -> None:
    linked = SessionLinked(jid="15550001111:1@s.whatsapp.net", phone_number="15550001111")
    await stored_session.end_with(linked)
    await stored_session.end_with(SessionConnected(phone_number="15550001111", connected_at=now()))
    for _ in range(400):
        await stored_session.message()
    incoming, waiting = received(), MessageId(uuid4())
    await stored_session.message(incoming, message_id=incoming.id)
    still_open = await stored_session.message(queued(waiting), message_id=waiting)
    await stored_session.end_with(SessionLoggedOut(reason="operator"))
    await stored_session.end_with(SessionDeleted())
    await stored_session.remove(now())
    assert len(await stored_session.streams()) == 403, "nothing of it is relayed"
    await stored_session.relay_all()
    await stored_session.remove(now())
    assert await stored_session.streams() == {session_stream(SESSION), still_open}
    state = message_state(await stored_session.store.stream(still_open))
    assert isinstance(state, domain.Queued)
    await stored_session.owner.append(
        SESSION, still_open, 1, domain.failed(state.facts, "internal", "")
    )
    await stored_session.relay_all()
    await stored_session.remove(now())
    rows = await stored_session.pool.fetch(
        "SELECT type, data::text, private FROM events ORDER BY position"
    )
    assert [row["type"] for row in rows] == ["session.deleted", "message.failed"]
    assert all("15550001111" not in str(row) for row in rows)
    assert await stored_session.session() == session_domain.Deleted()
    await stored_session.owner.append(SESSION, message_stream(waiting), 2, failed(waiting))
    assert await stored_session.last_sequence() == stored_session.owner.relayed[-1].session_sequence


async def test_what_is_younger_than_the_retention_stays(stored_session: StoredSession) -> None:
    sent = await stored_session.message()
    await stored_session.end_with(SessionStopped())
    await stored_session.relay_all()
    assert await stored_session.remove(now() + KEEP - timedelta(minutes=1)) == 0
    assert sent in await stored_session.streams()


async def test_the_last_event_counts_not_the_first(stored_session: StoredSession) -> None:
    sent = await stored_session.message()
    await stored_session.end_with(SessionStopped())
    await stored_session.relay_all()
    aged = "UPDATE events SET occurred_at = occurred_at - $1::interval WHERE stream = $2"
    await stored_session.pool.execute(f"{aged} AND stream_version < 3", LATER, sent)
    assert await stored_session.remove(now()) == 0
    await stored_session.pool.execute(f"{aged} AND stream_version = 3", LATER, sent)
    assert await stored_session.remove(now()) == 1


async def test_an_open_message_stays_however_old(stored_session: StoredSession) -> None:
    message_id = MessageId(uuid4())
    waiting = await stored_session.message(queued(message_id), message_id=message_id)
    begun_id = MessageId(uuid4())
    begun = await stored_session.message(
        queued(begun_id), MessageSendStarted(started_at=now()), message_id=begun_id
    )
    await stored_session.end_with(SessionStopped())
    await stored_session.relay_all()
    assert await stored_session.remove(now() + LATER * 10) == 0
    assert {waiting, begun} <= await stored_session.streams()


async def test_a_refused_message_that_was_queued_again_is_open(
    stored_session: StoredSession,
) -> None:
    again = MessageId(uuid4())
    stream = await stored_session.message(failed(again), queued(again), message_id=again)
    await stored_session.end_with(SessionStopped())
    await stored_session.relay_all()
    assert await stored_session.remove(now() + LATER) == 0
    assert stream in await stored_session.streams()


async def test_what_is_not_relayed_stays(stored_session: StoredSession) -> None:
    relayed = await stored_session.message()
    await stored_session.relay_all()
    unrelayed = await stored_session.message()
    await stored_session.end_with(SessionStopped())
    assert await stored_session.remove(now() + LATER) == 1
    assert relayed not in await stored_session.streams()
    assert unrelayed in await stored_session.streams()


async def test_the_highest_sequence_of_a_session_stays(stored_session: StoredSession) -> None:
    await stored_session.message()
    newest = await stored_session.message()
    await stored_session.relay_all()
    before = await stored_session.last_sequence()
    assert await stored_session.remove(now() + LATER) == 1
    assert newest in await stored_session.streams()
    assert await stored_session.last_sequence() == before


async def test_a_host_that_lost_the_partition_removes_nothing(
    stored_session: StoredSession,
) -> None:
    await stored_session.message()
    await stored_session.end_with(SessionStopped())
    await stored_session.relay_all()
    assert await stored_session.remove(now() + LATER, host="host-b") == 0
    await stored_session.pool.execute("UPDATE partitions SET expires_at = clock_timestamp()")
    assert await stored_session.remove(now() + LATER) == 0


async def test_more_than_a_page_is_removed_and_the_sequences_go_on(
    stored_session: StoredSession,
) -> None:
    for _ in range(3):
        for _ in range(120):
            await stored_session.message()
        await stored_session.end_with(SessionStopped())
    await stored_session.relay_all()
    assert await stored_session.remove(now() + LATER) == 360
    assert await stored_session.last_sequence() == 1 + 360 * 2 + 3
    kept = [stored async for stored in stored_session.store.of_partition(PARTITION)]
    assert [stored.session_sequence for stored in kept] == [1, 724]


async def test_a_key_of_long_ago_may_be_used_anew(stored_session: StoredSession) -> None:
    message_id = MessageId(uuid4())
    stream = await stored_session.message(failed(message_id), message_id=message_id)
    await stored_session.end_with(SessionStopped())
    await stored_session.relay_all()
    assert await stored_session.remove(now() + LATER) == 1
    await stored_session.owner.append(SESSION, stream, 0, queued(message_id))
    [only] = await stored_session.store.stream(stream)
    assert (only.type, only.stream_version) == ("message.queued", 1)


@pytest.mark.parametrize(
    ("age", "recorded"), [(KEEP - timedelta(hours=2), True), (KEEP - timedelta(minutes=30), False)]
)
async def test_receipts_add_nothing_to_what_may_be_removed_now(
    stored_session: StoredSession, age: timedelta, *, recorded: bool
) -> None:
    stream = await stored_session.message()
    receipts = Receipts(
        SESSION,
        PARTITION,
        session_context(
            stored_session.owner, stored_session.store, clock=lambda: now() + age, retention=KEEP
        ),
    )
    whatsapp_id = stream.replace("message-", "3EB0")
    seen = ReceiptSeen(chats=("1@lid",), message_ids=(whatsapp_id,), kind="read", at=now())
    await receipts.record_receipt(seen, sending=False)
    types = [stored.type for stored in await stored_session.store.stream(stream)]
    assert (types[-1] == "message.read") is recorded
