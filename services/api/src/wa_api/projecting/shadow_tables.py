"""A second set of read tables in its own schema, swapped in at the end of a rebuild.

Both schemas have the same migrations, hence the same tables and indexes. The same SQL works on
either, depending on `search_path`.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from urllib.parse import parse_qsl, urlencode, urlsplit
from uuid import UUID

import asyncpg

from wa_api.database.pool import Connection
from wa_api.refusal import Refusal
from wa_runtime.migrations import migrate
from wa_runtime.retries import connect_when_ready

SERVING, SHADOW = "api", "api_rebuild"
_ALONE = 0x77615F72656275  # "wa_rebu"


class CannotRebuild(Refusal):
    """The rebuild cannot start or continue. The serving tables are unchanged."""


@dataclass(frozen=True)
class Checked:
    """A session's checkpoint in the serving tables."""

    applied: int
    seen: int


def shadow_url(url: str) -> str:
    """The database URL with the shadow schema as `search_path`.

    Its commits are asynchronous: the swap's synchronous commit flushes them too.
    """
    parts = urlsplit(url)
    query = dict(parse_qsl(parts.query)) | {"search_path": SHADOW, "synchronous_commit": "off"}
    return parts._replace(query=urlencode(query)).geturl()


@asynccontextmanager
async def alone(url: str) -> AsyncIterator[asyncio.Event]:
    """Hold the rebuild lock during the block. The event is set if the connection is lost.

    Raises:
        CannotRebuild: Another rebuild is running.
        TimeoutError, asyncpg.PostgresError: The database is away.
    """
    connection = await connect_when_ready(url, "rebuild")
    try:
        if not await connection.fetchval("SELECT pg_try_advisory_lock($1)", _ALONE):
            raise CannotRebuild("Another rebuild is running.")
        lost = asyncio.Event()
        connection.add_termination_listener(lambda _: lost.set())
        yield lost
    finally:
        connection.terminate()


async def prepare(url: str) -> None:
    """Drop the shadow tables and create them empty.

    Raises:
        CannotRebuild: A schema is missing or belongs to another role.
        TimeoutError, asyncpg.PostgresError: The database is away.
    """
    connection = await connect_when_ready(url, "rebuild")
    try:
        await _check_schemas(connection)
        await connection.execute(_CLEAR)
    finally:
        await connection.close()
    await migrate(shadow_url(url), "wa_api")


async def clear(url: str) -> None:
    connection = await connect_when_ready(url, "rebuild")
    try:
        await connection.execute(_CLEAR)
    finally:
        await connection.close()


async def _check_schemas(connection: "asyncpg.Connection[asyncpg.Record]") -> None:
    serving = await connection.fetchval("SELECT current_schema()")
    if serving != SERVING:
        raise CannotRebuild(f"The role's search_path leads to {serving}, not to {SERVING}.")
    if not await connection.fetchval(_MAY_USE, SHADOW):
        raise CannotRebuild(
            f"The schema {SHADOW} is missing, or is not this role's: "
            "run deploy/postgres/create-roles.sh once more, or "
            f"CREATE SCHEMA {SHADOW} AUTHORIZATION wa_api as a superuser."
        )


async def behind(connection: Connection) -> Mapping[UUID, Checked]:
    """Sessions for which the serving tables have, or have seen, more than the shadow."""
    rows = await connection.fetch(_BEHIND)
    return {r["session_id"]: Checked(r["applied_sequence"], r["seen_sequence"]) for r in rows}


async def swap(connection: Connection) -> None:
    """Replace the serving tables by the shadow tables, inside the open transaction.

    Marks sessions whose newest events are missing in the feed; the projector adds those events.

    Raises:
        CannotRebuild: The serving schema was migrated during the rebuild.
        asyncpg.LockNotAvailableError: A reader holds a lock; try again.
    """
    if await connection.fetchval(_MIGRATED_OTHERWISE):
        raise CannotRebuild("The tables were migrated meanwhile: start the rebuild again.")
    await connection.execute(_LOCK_TIMEOUT)
    await connection.execute(_MARK_UNFED)
    await connection.execute(_SWAP)


_MAY_USE = """
    SELECT EXISTS (SELECT 1 FROM pg_namespace WHERE nspname = $1
                   AND has_schema_privilege(oid, 'CREATE, USAGE'))
"""
_CLEAR = """
    DO $$
    DECLARE name text;
    BEGIN
        FOR name IN SELECT tablename FROM pg_tables WHERE schemaname = 'api_rebuild' LOOP
            EXECUTE format('DROP TABLE api_rebuild.%I', name);
        END LOOP;
    END $$
"""
_BEHIND = """
    SELECT served.session_id, served.applied_sequence, served.seen_sequence
    FROM api.checkpoints AS served LEFT JOIN api_rebuild.checkpoints AS shadow USING (session_id)
    WHERE served.applied_sequence > coalesce(shadow.applied_sequence, 0)
       OR served.seen_sequence > coalesce(shadow.seen_sequence, 0)
"""
_MIGRATED_OTHERWISE = """
    SELECT EXISTS (SELECT name FROM api.applied_migrations
                   EXCEPT SELECT name FROM api_rebuild.applied_migrations)
"""
_LOCK_TIMEOUT = "SET LOCAL lock_timeout = '500ms'"  # below deadlock_timeout: the swap yields
_MARK_UNFED = """
    UPDATE api_rebuild.checkpoints AS shadow SET fed_sequence = unfed.fed
    FROM (
        SELECT session_id, greatest(
            coalesce(served.fed_sequence, served.applied_sequence, 0),
            (SELECT (event ->> 'sessionSequence')::bigint FROM api.feed
             WHERE feed.session_id = ahead.session_id ORDER BY position DESC LIMIT 1)) AS fed
        FROM api_rebuild.checkpoints AS ahead LEFT JOIN api.checkpoints AS served USING (session_id)
        WHERE ahead.applied_sequence > coalesce(served.fed_sequence, served.applied_sequence, 0)
    ) AS unfed
    WHERE shadow.session_id = unfed.session_id AND unfed.fed < shadow.applied_sequence
"""
_SWAP = """
    DROP TABLE api.sessions, api.messages, api.checkpoints, api.message_counts, api.message_hours,
        api.sent_seconds, api.removed_sessions;
    DROP FUNCTION api.count_messages();
    ALTER FUNCTION api_rebuild.count_messages() SET SCHEMA api;
    ALTER TABLE api_rebuild.sessions SET SCHEMA api;
    ALTER TABLE api_rebuild.messages SET SCHEMA api;
    ALTER TABLE api_rebuild.checkpoints SET SCHEMA api;
    ALTER TABLE api_rebuild.message_counts SET SCHEMA api;
    ALTER TABLE api_rebuild.message_hours SET SCHEMA api;
    ALTER TABLE api_rebuild.sent_seconds SET SCHEMA api;
    ALTER TABLE api_rebuild.removed_sessions SET SCHEMA api;
"""
