"""The dead letters table is bounded, and an operator may discard what it holds."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any, cast
from uuid import uuid4

import pytest

from tests.infrastructure import NewDatabase
from tests.integration.api.running import RunningApi
from tests.integration.api.sending import assert_problem
from wa_api.database.pool import Database
from wa_api.dead_letters.cleanup import BATCH, DeadLetterCleanup
from wa_api.dead_letters.letters import DeadLetters, ReceivedDeadLetter
from wa_api.settings import Settings
from wa_contracts.ids import new_id
from wa_runtime.migrations import migrate

NOW = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
KEEP = timedelta(days=30)
MINUTE = timedelta(minutes=1)


def letter(died_at: datetime, body: bytes = b"x") -> ReceivedDeadLetter:
    return ReceivedDeadLetter(
        id=new_id(),
        queue="wa.commands.p7",
        reason="rejected",
        cause=None,
        type=None,
        body=body,
        died_at=died_at,
    )


def letters_in(database: Database) -> DeadLetters:
    return DeadLetters(database, cast("Any", None))


@pytest.fixture
async def table(new_database: NewDatabase) -> AsyncIterator[Database]:
    url = (await new_database()).api
    await migrate(url, "wa_api")
    async with Database(url, size=2) as table:
        yield table


async def kept(table: Database) -> list[datetime]:
    """When those died that are left, newest first."""
    return [one.died_at for one in (await letters_in(table).page(None, 200)).items]


async def clean_up(table: Database, **limits: int) -> None:
    await DeadLetterCleanup(table, keep=KEEP, clock=lambda: NOW, **limits).clean_up()


async def test_old_dead_letters_are_deleted_in_batches(table: Database) -> None:
    old, recent = NOW - KEEP - MINUTE, NOW - KEEP + MINUTE
    for died_at in (recent, old):
        await letters_in(table).keep(letter(died_at))
    async with table.connection() as connection:
        await connection.execute(
            "INSERT INTO dead_letters (id, queue, reason, body, died_at)"
            " SELECT gen_random_uuid(), 'q', 'rejected', '', $1 FROM generate_series(1, $2)",
            old,
            2 * BATCH,
        )
    await clean_up(table)
    assert await kept(table) == [recent]


async def test_of_a_wave_the_newest_are_kept(table: Database) -> None:
    times = [NOW - number * MINUTE for number in range(8)]
    for died_at in times:
        await letters_in(table).keep(letter(died_at, b"x" * 1000))
    await clean_up(table)
    assert await kept(table) == times
    await clean_up(table, kept_bytes=5500)
    assert await kept(table) == times[:5]
    await clean_up(table, kept_letters=3)
    assert await kept(table) == times[:3]


async def test_an_operator_discards_a_dead_letter(api: RunningApi, settings: Settings) -> None:
    one, other = letter(datetime.now(UTC)), letter(datetime.now(UTC))
    async with Database(settings.api_database_url.get_secret_value(), size=1) as database:
        for each in (one, other):
            await letters_in(database).keep(each)
    assert (await api.admin.delete(f"/api/dead-letters/{one.id}")).status_code == 204
    listed = (await api.admin.get("/api/dead-letters")).json()["items"]
    assert [item["id"] for item in listed] == [str(other.id)]
    for absent in (one.id, uuid4()):
        refused = await api.admin.delete(f"/api/dead-letters/{absent}")
        assert_problem(refused, 404, "dead_letter_not_found")
