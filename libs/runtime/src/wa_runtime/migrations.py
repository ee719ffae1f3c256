"""Applies the SQL files of a package's `migrations/` once each, in the order of their names.

A file is one transaction, unless its first line is `NO_TRANSACTION`. Such a file is for statements
that Postgres refuses inside a transaction (`CREATE INDEX CONCURRENTLY`). Its statements run one by
one, each ends at a semicolon at the end of a line, and all of them run again after an interruption:
they must be repeatable.
"""

import asyncio
import hashlib
from dataclasses import dataclass
from importlib.resources import files

import asyncpg
import structlog

from wa_runtime.retries import PATIENCE_SECONDS, connect_when_ready

log = structlog.get_logger()

LOCK_POLL_SECONDS = 0.2
NO_TRANSACTION = "-- no transaction"
_LOCK = 0x77615F6D69677261  # "wa_migra": one migration run at a time
_LEDGER = """
    CREATE TABLE IF NOT EXISTS applied_migrations (
        name text PRIMARY KEY, applied_at timestamptz NOT NULL DEFAULT now())
"""
_CHECKSUMS = "ALTER TABLE applied_migrations ADD COLUMN IF NOT EXISTS checksum text"
_TRY_LOCK = "SELECT pg_try_advisory_lock($1)"
_APPLIED = "SELECT name, checksum FROM applied_migrations"
_RECORD = "INSERT INTO applied_migrations (name, checksum) VALUES ($1, $2)"
_ADOPT = "UPDATE applied_migrations SET checksum = $2 WHERE name = $1 AND checksum IS NULL"


class MigrationChanged(Exception):
    """An applied migration's file has another content now: the tables may differ from it."""


@dataclass(frozen=True)
class _Migration:
    name: str
    sql: str

    @property
    def checksum(self) -> str:
        return hashlib.sha256(self.sql.encode()).hexdigest()

    async def apply(self, connection: "asyncpg.Connection[asyncpg.Record]") -> None:
        if self.sql.startswith(NO_TRANSACTION):
            for statement in self.sql.rstrip().rstrip(";").split(";\n"):
                await connection.execute(statement)
            await connection.execute(_RECORD, self.name, self.checksum)
        else:
            async with connection.transaction():
                await connection.execute(self.sql)
                await connection.execute(_RECORD, self.name, self.checksum)
        log.info("migration_applied", name=self.name)


async def migrate(
    url: str, package: str, *, wait_seconds: float = PATIENCE_SECONDS
) -> tuple[str, ...]:
    """Wait for the database, apply `package`'s pending migrations, return their names.

    Checks first that the applied files are unchanged. Files that an earlier version applied without
    a checksum are taken as they are.

    Raises:
        TimeoutError: the database is unavailable for `wait_seconds`.
        MigrationChanged: nothing is applied.
        asyncpg.PostgresError: a migration failed. Neither it nor a later one is applied.
    """
    connection = await connect_when_ready(url, "migrate", within=wait_seconds)
    try:
        await _lock(connection)
        await connection.execute(_LEDGER)
        await connection.execute(_CHECKSUMS)
        applied = {row["name"]: row["checksum"] for row in await connection.fetch(_APPLIED)}
        migrations = _migrations(package)
        for one in migrations:
            if applied.get(one.name) not in {None, one.checksum}:
                raise MigrationChanged(
                    f"{one.name} of {package} was applied with another content. Restore the file "
                    "of the version that applied it, and put the change into a new migration."
                )
        pending = [one for one in migrations if one.name not in applied]
        for one in migrations:
            if one.name in applied:
                await connection.execute(_ADOPT, one.name, one.checksum)
        for one in pending:
            await one.apply(connection)
        return tuple(one.name for one in pending)
    finally:
        await connection.close()


async def _lock(connection: "asyncpg.Connection[asyncpg.Record]") -> None:
    """Wait for other runs by polling: a concurrent index build waits for waiting statements."""
    while True:
        if await connection.fetchval(_TRY_LOCK, _LOCK):
            return
        await asyncio.sleep(LOCK_POLL_SECONDS)


def _migrations(package: str) -> list[_Migration]:
    directory = files(package) / "migrations"
    return sorted(
        (
            _Migration(entry.name, entry.read_text())
            for entry in directory.iterdir()
            if entry.name.endswith(".sql")
        ),
        key=lambda one: one.name,
    )
