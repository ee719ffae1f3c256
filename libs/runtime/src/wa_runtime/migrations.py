"""Applies the SQL files of a package's `migrations/` once each, in the order of their names."""

import asyncio
from importlib.resources import files

import asyncpg
import structlog

from wa_runtime.retries import until_available

log = structlog.get_logger()

WAIT_SECONDS = 60.0
_LOCK = 0x77615F6D69677261  # "wa_migra": one migration run at a time
_LEDGER = """
    CREATE TABLE IF NOT EXISTS applied_migrations (
        name text PRIMARY KEY, applied_at timestamptz NOT NULL DEFAULT now())
"""
_STARTING = (OSError, asyncpg.CannotConnectNowError)
"""A malformed URL is not retried."""
_APPLIED = "SELECT name FROM applied_migrations"
_RECORD = "INSERT INTO applied_migrations (name) VALUES ($1)"


async def migrate(url: str, package: str, *, wait_seconds: float = WAIT_SECONDS) -> tuple[str, ...]:
    """Wait for the database, apply `package`'s pending migrations, return their names.

    Raises:
        TimeoutError: the database is unavailable for `wait_seconds`.
        asyncpg.PostgresError: a migration failed. Neither it nor a later one is applied.
    """
    connection = await _connect(url, wait_seconds)
    try:
        await connection.execute("SELECT pg_advisory_lock($1)", _LOCK)
        await connection.execute(_LEDGER)
        known = {row["name"] for row in await connection.fetch(_APPLIED)}
        pending = [(name, sql) for name, sql in _migrations(package) if name not in known]
        for name, sql in pending:
            async with connection.transaction():
                await connection.execute(sql)
                await connection.execute(_RECORD, name)
            log.info("migration_applied", name=name)
        return tuple(name for name, _ in pending)
    finally:
        await connection.close()


def _migrations(package: str) -> list[tuple[str, str]]:
    directory = files(package) / "migrations"
    return sorted(
        (entry.name, entry.read_text())
        for entry in directory.iterdir()
        if entry.name.endswith(".sql")
    )


async def _connect(url: str, wait_seconds: float) -> asyncpg.Connection:
    async with asyncio.timeout(wait_seconds):
        return await until_available(
            "migrate", lambda: asyncpg.connect(url, timeout=5), on=_STARTING
        )
