"""The projection writer on Postgres: what a refused batch leaves behind."""

from datetime import UTC, datetime
from uuid import UUID, uuid4

import asyncpg
import pytest

from tests.infrastructure import NewDatabase
from wa_api.database.pool import Database
from wa_api.events.feed import EVERYTHING, Feed
from wa_api.projecting.order import Arrival
from wa_api.projecting.writer import ProjectionWriter, Written
from wa_contracts.codec import encode
from wa_contracts.envelope import Envelope
from wa_contracts.ids import EventId, SessionId, session_stream
from wa_contracts.session_events import Event, SessionCreated, SessionStarting, SessionStopped
from wa_runtime.migrations import migrate

SESSION = SessionId(UUID(int=6))


def _arrival(sequence: int, event: Event) -> Arrival:
    envelope = Envelope(
        id=EventId(uuid4()),
        type=event.TYPE,
        version=event.VERSION,
        session_id=SESSION,
        session_sequence=sequence,
        stream=session_stream(SESSION),
        stream_version=sequence,
        occurred_at=datetime.now(UTC),
        correlation_id=uuid4(),
        causation_id=uuid4(),
        data=event,
    )
    return Arrival.of(envelope)._replace(json=encode(envelope).decode())


async def test_a_refused_batch_forgets_early_events(new_database: NewDatabase) -> None:
    """One of them may be the refused event, and would have the same batch refused for ever."""
    databases = await new_database()
    await migrate(databases.api, "wa_api")
    created, starting = (
        _arrival(1, SessionCreated(name="shop")),
        _arrival(2, SessionStarting(reason="created")),
    )
    refused = _arrival(3, SessionStarting(reason="again"))._replace(json="no JSON")
    async with Database(databases.api, size=2) as database:
        writer = ProjectionWriter(database)
        assert await writer.write([refused]) == Written(applied=0, known=0, ahead=1)
        with pytest.raises(asyncpg.PostgresError):
            await writer.write([created, starting])
        assert await writer.write([created, starting]) == Written(applied=2, known=0, ahead=0)


async def test_an_event_that_was_passed_over_reaches_the_feed_once_when_it_is_put_back(
    new_database: NewDatabase,
) -> None:
    databases = await new_database()
    await migrate(databases.api, "wa_api")
    created, unreadable, after = (
        _arrival(1, SessionCreated(name="shop")),
        _arrival(2, SessionStarting(reason="created")),
        _arrival(3, SessionStopped()),
    )
    async with Database(databases.api, size=2) as database:
        writer, feed = ProjectionWriter(database), Feed(database)
        await writer.write([created, unreadable._replace(event=None, json=None)])
        await writer.write([after])
        assert await writer.write([unreadable._replace(event=None)]) == Written(0, 1, 0)
        assert await writer.write([unreadable, unreadable, after]) == Written(1, 2, 0)
        assert await writer.write([unreadable]) == Written(0, 1, 0)
        entries = (await feed.after(0, EVERYTHING)).entries
        assert [one.type for one in entries] == [
            "session.created",
            "session.stopped",
            "session.starting",
        ]
        async with database.connection() as connection:
            assert await connection.fetchval("SELECT status FROM sessions") == "stopped"
            assert not await connection.fetch("SELECT FROM skipped_events")
