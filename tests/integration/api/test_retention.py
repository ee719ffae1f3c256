"""What the projector forgets: ended messages and the feed's oldest events, by the time handed in."""

import time
from collections.abc import AsyncIterator, Iterable
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest

from tests.infrastructure import NewDatabase
from wa_api.database.pool import Database
from wa_api.events.feed import Feed, FeedFilter
from wa_api.messages.views import MessageFilter, MessageViews
from wa_api.owners.liveness import HostLiveness
from wa_api.projecting.order import Arrival
from wa_api.projecting.retention import BATCH, Retention
from wa_api.projecting.writer import ProjectionWriter
from wa_contracts.envelope import Envelope
from wa_contracts.ids import EventId, MessageId, SessionId, session_stream
from wa_contracts.internal.commands import MessageType
from wa_contracts.message_events import (
    MessageDelivered,
    MessageQueued,
    MessageReceived,
    MessageScheduled,
    MessageSent,
)
from wa_contracts.session_events import Event, SessionCreated, SessionDeleted
from wa_runtime.migrations import migrate

NOW = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
KEEP = timedelta(days=30)
OLD = NOW - KEEP - timedelta(minutes=1)
RECENT = NOW - KEEP + timedelta(minutes=1)
SESSION = SessionId(UUID(int=5))
TO = "919876543210"


class ProjectedSession:
    """A session's projections; each event happens at the time that it is told."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.writer = ProjectionWriter(database)
        self.feed = Feed(database)
        self.sequence = 0

    async def happen(self, *events: tuple[datetime, Event]) -> None:
        """Project these."""
        await self.writer.write([Arrival.of(self._envelope(at, event)) for at, event in events])

    def _envelope(self, at: datetime, event: Event) -> Envelope:
        self.sequence += 1
        return Envelope(
            id=EventId(uuid4()),
            type=event.TYPE,
            version=event.VERSION,
            session_id=SESSION,
            session_sequence=self.sequence,
            stream=session_stream(SESSION),
            stream_version=self.sequence,
            occurred_at=at,
            correlation_id=uuid4(),
            causation_id=uuid4(),
            data=event,
        )

    async def forget(self) -> int:
        """One pass."""
        return await Retention(self.database, keep=KEEP, clock=lambda: NOW).forget()

    async def messages(self) -> set[UUID]:
        """What is left of them."""
        async with self.database.connection() as connection:
            return {row["id"] for row in await connection.fetch("SELECT id FROM messages")}


@pytest.fixture
async def projected(new_database: NewDatabase) -> AsyncIterator[ProjectedSession]:
    """A session that was created just now."""
    url = (await new_database()).api
    await migrate(url, "wa_api")
    async with Database(url, size=2) as database:
        made = ProjectedSession(database)
        await made.happen((NOW, SessionCreated(name="shop")))
        yield made


def scheduled(message_id: MessageId) -> MessageScheduled:
    return MessageScheduled(
        id=message_id, to=TO, type=MessageType.TEXT, send_at=NOW, expires_at=NOW
    )


def queued(message_id: MessageId) -> MessageQueued:
    """The message is accepted."""
    return MessageQueued(id=message_id, to=TO, type=MessageType.TEXT, expires_at=NOW)


def sent(message_id: MessageId) -> MessageSent:
    """The message is sent."""
    return MessageSent(id=message_id, message_id="3EB0", to=TO, type=MessageType.TEXT, sent_at=OLD)


def ids(number: int) -> Iterable[MessageId]:
    """New ids."""
    return [MessageId(uuid4()) for _ in range(number)]


async def test_an_ended_message_is_forgotten_when_its_last_event_is_old(
    projected: ProjectedSession,
) -> None:
    old, delivered_lately = ids(2)
    receipt = MessageDelivered(id=delivered_lately, message_id="3EB1", to=TO, delivered_at=RECENT)
    await projected.happen(
        (OLD, queued(old)),
        (OLD, sent(old)),
        (OLD, queued(delivered_lately)),
        (OLD, sent(delivered_lately)),
        (RECENT, receipt),
    )
    await projected.forget()
    assert await projected.messages() == {delivered_lately}


async def test_a_received_message_goes_by_when_it_was_stored(projected: ProjectedSession) -> None:
    one, two = ids(2)
    for at, message_id in ((OLD, one), (RECENT, two)):
        incoming = MessageReceived(
            id=message_id,
            message_id="3A",
            chat="1@lid",
            sender="1@lid",
            sender_number=TO,
            type="text",
            text="Hello!",
            received_at=OLD,
        )
        await projected.happen((at, incoming))
    await projected.forget()
    assert await projected.messages() == {two}


async def test_an_open_message_stays_however_old(projected: ProjectedSession) -> None:
    [waiting] = ids(1)
    later = MessageId(uuid4())
    await projected.happen((OLD - KEEP, queued(waiting)), (OLD - KEEP, scheduled(later)))
    await projected.forget()
    assert await projected.messages() == {waiting, later}


async def test_the_feed_keeps_its_positions_and_a_client_from_before_gets_what_is_left(
    projected: ProjectedSession,
) -> None:
    number = BATCH + 7  # more than a batch
    await projected.happen(*[(OLD, queued(one)) for one in ids(number)])
    [last] = ids(1)
    await projected.happen((RECENT, queued(last)))
    before = await projected.feed.end()
    await projected.happen((NOW, sent(last)))
    await projected.forget()
    left = (await projected.feed.after(1, FeedFilter())).entries
    assert [(entry.position, entry.type) for entry in left] == [
        (before, "message.queued"),
        (before + 1, "message.sent"),
    ]
    assert await projected.feed.end() == before + 1


async def test_the_same_id_may_come_anew_while_its_old_row_is_there(
    projected: ProjectedSession,
) -> None:
    [reused] = ids(1)
    await projected.happen((OLD, queued(reused)), (OLD, sent(reused)), (NOW, queued(reused)))
    async with projected.database.connection() as connection:
        [row] = await connection.fetch("SELECT * FROM messages")
    assert (row["status"], row["message_id"], row["sent_at"]) == ("queued", None, None)
    assert (row["created_at"], row["changed_at"]) == (NOW, NOW)
    await projected.forget()
    assert await projected.messages() == {reused}


async def test_a_deleted_sessions_messages_are_hidden_at_once_and_deleted_in_batches(
    projected: ProjectedSession,
) -> None:
    many = list(ids(2 * BATCH + 1))
    await projected.happen(*((NOW, queued(one)) for one in many))
    await projected.happen((NOW, SessionDeleted()))
    assert await projected.messages() == set(many), "one transaction deletes no more than a batch"
    views = MessageViews(projected.database, HostLiveness(time.monotonic))
    assert await views.message(str(many[0]), None) is None
    assert not (await views.messages(MessageFilter(), None, 10)).items
    retention = Retention(projected.database, keep=KEEP, clock=lambda: NOW)
    assert await retention.remove_deleted() == len(many)
    assert await retention.remove_deleted() == 0
    async with projected.database.connection() as connection:
        for table in ("messages", "message_counts", "message_hours", "removed_sessions"):
            assert not await connection.fetch(f"SELECT FROM {table}"), table
