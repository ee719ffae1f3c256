"""Migrations: once each, unchanged since, and index builds outside a transaction; on a real Postgres."""

import asyncio
import sys
from collections.abc import Callable
from pathlib import Path

import asyncpg
import pytest

from tests.infrastructure import NewDatabase
from wa_runtime.migrations import MigrationChanged, migrate

TABLE = "CREATE TABLE things (n int);\nINSERT INTO things VALUES (1), (2);\n"
INDEX = """-- no transaction
DROP INDEX CONCURRENTLY IF EXISTS things_by_n;
CREATE INDEX CONCURRENTLY things_by_n ON things (n);
"""
VALID = "SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass('things_by_n')"
CHECKSUMS = "SELECT name, checksum FROM applied_migrations ORDER BY name"

Write = Callable[..., str]


@pytest.fixture
async def url(new_database: NewDatabase) -> str:
    """A fresh database."""
    return (await new_database()).session_host


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Write:
    """Call it to write migrations, by name without the ending; the package's name."""
    name = f"migrated_{abs(hash(request.node.name))}"
    monkeypatch.syspath_prepend(str(tmp_path))
    folder = tmp_path / name / "migrations"
    folder.mkdir(parents=True)
    (folder.parent / "__init__.py").touch()

    def write_files(**files: str) -> str:
        for number, (file, sql) in enumerate(files.items(), start=1):
            (folder / f"000{number}_{file}.sql").write_text(sql)
        sys.modules.pop(name, None)
        return name

    return write_files


async def test_an_index_is_built_outside_a_transaction(url: str, write: Write) -> None:
    package = write(table=TABLE, index=INDEX)
    assert await migrate(url, package) == ("0001_table.sql", "0002_index.sql")
    connection = await asyncpg.connect(url)
    assert await connection.fetchval(VALID)
    await connection.close()
    assert await migrate(url, package) == ()


async def test_an_interrupted_index_build_is_repeated(url: str, write: Write) -> None:
    await migrate(url, write(table=TABLE))
    connection = await asyncpg.connect(url)
    await connection.execute("CREATE INDEX things_by_n ON things (n)")  # built, not recorded
    assert await migrate(url, write(table=TABLE, index=INDEX)) == ("0002_index.sql",)
    assert await connection.fetchval(VALID)
    await connection.close()


async def test_two_runs_at_once_do_not_wait_for_each_other(url: str, write: Write) -> None:
    """A run that waits inside a statement would hold the other run's index build up for ever."""
    package = write(table=TABLE, index=INDEX)
    async with asyncio.timeout(60):
        names = await asyncio.gather(*(migrate(url, package) for _ in range(3)))
    assert sorted(map(len, names)) == [0, 0, 2]


async def test_a_changed_file_is_refused_and_nothing_is_applied(url: str, write: Write) -> None:
    await migrate(url, write(table=TABLE))
    with pytest.raises(MigrationChanged, match=r"0001_table\.sql .* Restore the file"):
        await migrate(url, write(table=TABLE + "-- a word more\n", index=INDEX))
    connection = await asyncpg.connect(url)
    assert await connection.fetchval("SELECT count(*) FROM applied_migrations") == 1
    await connection.close()


async def test_what_an_earlier_version_applied_is_adopted(url: str, write: Write) -> None:
    connection = await asyncpg.connect(url)
    await connection.execute(
        "CREATE TABLE applied_migrations (name text PRIMARY KEY,"
        " applied_at timestamptz NOT NULL DEFAULT now());"
        f"INSERT INTO applied_migrations (name) VALUES ('0001_table.sql'); {TABLE}"
    )
    assert await migrate(url, write(table=TABLE, index=INDEX)) == ("0002_index.sql",)
    rows = await connection.fetch(CHECKSUMS)
    assert [len(row["checksum"]) for row in rows] == [64, 64]
    await connection.close()


async def test_a_migration_that_fails_leaves_nothing(url: str, write: Write) -> None:
    with pytest.raises(asyncpg.PostgresError):
        await migrate(url, write(table=TABLE + "SELECT 1 / 0;\n"))
    assert await migrate(url, write(table=TABLE)) == ("0001_table.sql",)
