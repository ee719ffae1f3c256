"""Look-ups read what they show, however much is stored; counters are what a count would be."""

import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import asyncpg
import pytest

from tests.deadlines import eventually
from tests.infrastructure import NewDatabase
from wa_api.dashboard.readings import DashboardReadings
from wa_api.database.pool import Database
from wa_api.events.feed import BATCH, Feed, FeedFilter
from wa_api.http.paging import Place
from wa_api.messages.views import MessageFilter, MessageViews
from wa_api.owners.liveness import HostLiveness
from wa_api.projecting import shadow_tables
from wa_contracts.internal.replies import MessageStatus
from wa_runtime.migrations import migrate

STORED = 20_000
READ_AT_MOST = 1_000
LIMIT = 25
SESSION, OTHER = UUID(int=1), UUID(int=2)
RARE = UUID(int=3)
OWN, RARE_NUMBER = "10000000000", "447911123456"

MESSAGES = """
INSERT INTO messages (id, session_id, direction, recipient, type, status, reference, created_at,
                      sent_at)
SELECT md5(n::text)::uuid, $1, CASE n % 2 WHEN 0 THEN 'outgoing' ELSE 'incoming' END,
       CASE n % 2 WHEN 0 THEN (20000000000 + n)::text ELSE $3 END, 'text',
       CASE n % 2 WHEN 0 THEN 'read' ELSE 'delivered' END, 'campaign',
       now() - n * interval '1 second',
       CASE n % 2 WHEN 0 THEN now() - n * interval '1 second' END
FROM generate_series(1, $2::int) AS n
"""
OLDEST = """
INSERT INTO messages (id, session_id, direction, recipient, type, status, reference, created_at)
VALUES ($1, $2, 'outgoing', $3, 'text', 'failed', 'rare', now() - interval '20 hours')
"""
EVENTS = """
INSERT INTO feed (session_id, type, event)
SELECT $1, CASE WHEN n % 10000 = 5 THEN 'session.connected' ELSE 'message.sent' END,
       '{"occurredAt": "2026-03-04T05:06:07Z", "data": {}}'
FROM generate_series(1, $2::int) AS n
"""
READ = """
SELECT sum(coalesce(seq_tup_read, 0) + coalesce(idx_tup_fetch, 0))::bigint
FROM pg_stat_user_tables WHERE relname IN ('messages', 'feed')
"""
CONNECTIONS = """
SELECT count(*) FROM pg_stat_activity
WHERE datname = current_database() AND backend_type = 'client backend' AND pid <> pg_backend_pid()
"""
FUNCTIONS = """
SELECT nspname AS schema FROM pg_proc JOIN pg_namespace n ON n.oid = pronamespace
WHERE proname = 'count_messages'
"""
AGAIN = """
INSERT INTO messages SELECT * FROM messages ON CONFLICT (id) DO UPDATE SET status = 'unknown'
"""
COUNTED = """
SELECT status, count(*) AS number FROM messages WHERE direction = 'outgoing' GROUP BY status
"""


@pytest.fixture(scope="module")
async def url(new_database: NewDatabase) -> str:
    """A database with many messages and events, the rare ones the oldest."""
    url = (await new_database()).api
    await migrate(url, "wa_api")
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(OLDEST, RARE, OTHER, RARE_NUMBER)
        await connection.execute(MESSAGES, SESSION, STORED, OWN)
        await connection.execute(EVENTS, SESSION, STORED)
        await connection.execute("ANALYZE")
    finally:
        await connection.close()
    return url


async def _rows_read(url: str, look_up: Callable[[Database], Awaitable[object]]) -> int:
    """The rows of messages and events that Postgres reads for this."""
    connection = await asyncpg.connect(url)

    async def all_read() -> int:
        async def all_closed() -> bool:
            return bool(await connection.fetchval(CONNECTIONS) == 0)

        await eventually(all_closed, what="statistics are written when connections end")
        number: int = await connection.fetchval(READ)
        return number

    try:
        before = await all_read()
        async with Database(url, size=1) as database:
            await look_up(database)
        read = await all_read() - before
    finally:
        await connection.close()
    return read


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        (MessageFilter(), LIMIT),
        (MessageFilter(session_id=SESSION), LIMIT),
        (MessageFilter(session_id=OTHER), 1),
        (MessageFilter(status=MessageStatus.FAILED), 1),
        (MessageFilter(status=MessageStatus.CANCELLED), 0),
        (MessageFilter(session_id=SESSION, status=MessageStatus.FAILED), 0),
        (MessageFilter(session_id=SESSION, status=MessageStatus.READ), LIMIT),
        (MessageFilter(direction="incoming"), LIMIT),
        (MessageFilter(session_id=OTHER, direction="incoming"), 0),
        (MessageFilter(direction="incoming", status=MessageStatus.READ), 0),
        (MessageFilter(to=RARE_NUMBER), 1),
        (MessageFilter(to=OWN), LIMIT),
        (MessageFilter(to=OWN, direction="incoming"), LIMIT),
        (MessageFilter(session_id=SESSION, to=RARE_NUMBER), 0),
        (MessageFilter(reference="rare"), 1),
        (MessageFilter(reference="campaign"), LIMIT),
        (MessageFilter(session_id=OTHER, reference="campaign"), 0),
    ],
    ids=str,
)
@pytest.mark.parametrize("continued", [False, True])
async def test_a_page_of_messages_reads_little_more_than_it_shows(
    url: str, wanted: MessageFilter, found: int, continued: bool
) -> None:
    pages = []
    halfway = Place(datetime.now(UTC) - timedelta(seconds=STORED / 2), UUID(int=0))

    async def look_up(database: Database) -> None:
        page = await MessageViews(database, HostLiveness(time.monotonic)).messages(
            wanted, halfway if continued else None, LIMIT
        )
        pages.append(page)

    read = await _rows_read(url, look_up)
    [page] = pages
    assert read <= READ_AT_MOST
    assert len(page.items) == found
    assert (page.next_cursor is not None) == (found == LIMIT)
    times = [one.created_at for one in page.items]
    assert times == sorted(times, reverse=True)


@pytest.mark.parametrize("session_id", [None, SESSION, OTHER])
@pytest.mark.parametrize("types", [{"session.connected"}, {"message.failed", "session.deleted"}])
async def test_rare_events_after_an_old_position_read_no_others(
    url: str, session_id: UUID | None, types: set[str]
) -> None:
    pages = []
    of = None if session_id is None else frozenset({session_id})
    wanted = FeedFilter(of, frozenset(types))

    async def look_up(database: Database) -> None:
        pages.append(await Feed(database).after(0, wanted))

    assert await _rows_read(url, look_up) <= READ_AT_MOST
    found = session_id is not OTHER and "session.connected" in types
    assert [entry.position for entry in pages[0].entries] == ([5, 10_005] if found else [])


async def test_the_feed_of_several_types_is_in_its_order(url: str) -> None:
    async with Database(url, size=1) as database:
        types = frozenset({"session.connected", "message.sent"})
        page = await Feed(database).after(0, FeedFilter(frozenset({SESSION}), types))
    assert [entry.position for entry in page.entries] == list(range(1, BATCH + 1))
    assert page.more


@pytest.mark.parametrize(
    "reading",
    [
        lambda readings: readings.messages_a_minute(),
        lambda readings: readings.message_counts(SESSION),
        lambda readings: readings.history(SESSION),
    ],
    ids=["messages a minute", "counts", "history"],
)
async def test_the_dashboards_numbers_read_no_messages_and_few_events(
    url: str, reading: Callable[[DashboardReadings], Awaitable[object]]
) -> None:
    async def look_up(database: Database) -> None:
        await reading(DashboardReadings(database, HostLiveness(time.monotonic)))

    assert await _rows_read(url, look_up) <= LIMIT


@pytest.fixture
async def counted(new_database: NewDatabase) -> AsyncIterator[Database]:
    """A database of its own, whose counters are compared with a count."""
    url = (await new_database()).api
    await migrate(url, "wa_api")
    async with Database(url, size=1) as database:
        yield database


async def test_counters_follow_every_change_of_messages(counted: Database) -> None:
    readings = DashboardReadings(counted, HostLiveness(time.monotonic))
    statements: Sequence[tuple[str, tuple[object, ...]]] = (
        (MESSAGES, (SESSION, 300, OWN)),
        (OLDEST, (uuid4(), SESSION, OWN)),
        ("UPDATE messages SET status = 'failed', sent_at = NULL WHERE reference = 'campaign'", ()),
        ("UPDATE messages SET status = 'sent', sent_at = now() WHERE recipient LIKE '%8'", ()),
        ("DELETE FROM messages WHERE recipient LIKE '%6' OR direction = 'incoming'", ()),
        (AGAIN, ()),
        ("DELETE FROM messages", ()),
    )
    for statement, values in statements:
        async with counted.connection() as connection:
            await connection.execute(statement, *values)
            rows = await connection.fetch(COUNTED)
            sent = await connection.fetchval(
                "SELECT count(*) FROM messages WHERE sent_at > now() - interval '58 seconds'"
            )
            all_sent = await connection.fetchval("SELECT count(sent_at) FROM messages")
        expected = {MessageStatus(row["status"]): row["number"] for row in rows}
        assert await readings.message_counts(SESSION) == expected
        hours = await readings.last_day(SESSION)
        assert sum(hour.sent for hour in hours) == all_sent
        assert sum(hour.failed for hour in hours) == expected.get(
            MessageStatus.FAILED, 0
        ) + expected.get(MessageStatus.UNKNOWN, 0)
        assert await readings.messages_a_minute() >= sent


async def test_counters_go_on_after_a_rebuild_and_after_another(new_database: NewDatabase) -> None:
    url = (await new_database()).api
    await migrate(url, "wa_api")
    for _ in range(2):
        await shadow_tables.prepare(url)
        async with Database(url, size=1) as database:
            async with database.transaction() as connection:
                await shadow_tables.swap(connection)
            async with database.connection() as connection:
                await connection.execute(OLDEST, uuid4(), SESSION, OWN)
            counts = await DashboardReadings(database, HostLiveness(time.monotonic)).message_counts(
                SESSION
            )
            assert counts == {MessageStatus.FAILED: 1}
            async with database.connection() as connection:
                functions = await connection.fetch(FUNCTIONS)
        assert [row["schema"] for row in functions] == [shadow_tables.SERVING]
