"""The engines' device store, as the host sees it: which devices it has, and whose turn it is to upgrade it."""

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable
from contextlib import closing, suppress
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import structlog

from wa_contracts.ids import SessionId
from wa_runtime.postgres import skip_reset
from wa_session_host.domain.observations import LinkedDevice

log = structlog.get_logger()

_HAS_DEVICE = "SELECT EXISTS (SELECT FROM whatsmeow_device WHERE jid = $1)"
_HAS_TABLE_FILE = "SELECT 1 FROM sqlite_master WHERE name = 'whatsmeow_device'"
_HAS_DEVICE_FILE = "SELECT 1 FROM whatsmeow_device WHERE jid = ?"
_UPGRADE_LOCK = "SELECT pg_advisory_xact_lock(hashtext('engine device store'))"
_CONNECTIONS = """
SELECT count(*) AS devices, current_setting('max_connections')::int AS available
FROM whatsmeow_device
"""
CONNECTIONS_PER_ENGINE = 2
_TIMEOUT_SECONDS = 10
_UPGRADE_SECONDS = 300
_ERRORS = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, sqlite3.Error)


class DeviceStore:
    """A Postgres database that all hosts share, or a folder with a SQLite file per session."""

    def __init__(self, url: str) -> None:
        """`url` is a Postgres URL in the form of the engine's driver, or `sqlite://` and a folder.

        A transaction pooler (PgBouncer) may stand in between: no statement needs a session.
        """
        self._url = url
        self._folder = url.removeprefix("sqlite://") if url.startswith("sqlite://") else None
        self._pool: asyncpg.Pool[asyncpg.Record] | None = None

    def url_of(self, session_id: SessionId) -> str:
        """What the session's engine opens."""
        return self._url if self._folder is None else f"{self._folder}/{session_id}.db"

    async def has(self, session_id: SessionId, link: LinkedDevice) -> bool:
        """Whether the device is stored. An engine that connects without it aborts.

        True if the store does not answer: the engine then reports the failure.
        """
        try:
            if self._folder is not None:
                return await asyncio.to_thread(_has_in_file, self.url_of(session_id), link.jid)
            pool = await self._connected()
            async with asyncio.timeout(_TIMEOUT_SECONDS):
                return bool(await pool.fetchval(_HAS_DEVICE, link.jid))
        except asyncpg.UndefinedTableError:
            return False
        except _ERRORS as error:
            log.warning("device_store_unavailable", reason=type(error).__name__)
            return True

    async def upgrade(self, run: Callable[[str], Awaitable[None]]) -> None:
        """Let one process of all hosts create or upgrade the tables; several at once would collide.

        `run` opens the store with the engine, whose library holds the steps. A file per session has
        one user. A store that does not answer is left to the engines, which try again.
        """
        if self._folder is not None:
            return
        try:
            async with asyncio.timeout(_UPGRADE_SECONDS):
                pool = await self._connected()
                async with pool.acquire() as connection, connection.transaction():
                    await connection.execute(_UPGRADE_LOCK)
                    await run(self._url)
        except _ERRORS as error:
            log.warning("device_store_not_upgraded", reason=type(error).__name__)

    async def warn_of_connections(self) -> None:
        """Log a warning if the stored devices need more connections than the server has.

        Each engine keeps some for as long as it runs. A URL with `binary_parameters=yes` is a pool's:
        there they are few, whatever the number of sessions.
        """
        if self._folder is not None or "binary_parameters=yes" in self._url:
            return
        try:
            pool = await self._connected()
            async with asyncio.timeout(_TIMEOUT_SECONDS):
                row = await pool.fetchrow(_CONNECTIONS)
        except _ERRORS as error:
            log.warning("device_store_unavailable", reason=type(error).__name__)
            return
        needed = row["devices"] * CONNECTIONS_PER_ENGINE if row else 0
        if row and needed > row["available"]:
            log.warning(
                "device_store_connections_short",
                devices=row["devices"],
                needed=needed,
                available=row["available"],
                remedy="Put a PgBouncer before DEVICE_STORE_URL: docs/operations.md",
            )

    async def close(self) -> None:
        if self._pool is not None:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._pool.close(), _TIMEOUT_SECONDS)

    async def _connected(self) -> "asyncpg.Pool[asyncpg.Record]":
        if self._pool is None:
            self._pool = asyncpg.create_pool(
                _for_asyncpg(self._url),
                min_size=0,
                max_size=2,
                timeout=_TIMEOUT_SECONDS,
                statement_cache_size=0,
                reset=skip_reset,
            )
        return await self._pool


def _has_in_file(path: str, jid: str) -> bool:
    if not Path(path).exists():
        return False
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        if connection.execute(_HAS_TABLE_FILE).fetchone() is None:
            return False
        return connection.execute(_HAS_DEVICE_FILE, (jid,)).fetchone() is not None


def _for_asyncpg(url: str) -> str:
    """The URL without the options that only the engine's driver knows."""
    parts = urlsplit(url)
    options = [
        option for option in parts.query.split("&") if not option.startswith("binary_parameters=")
    ]
    return parts._replace(query="&".join(options)).geturl()
