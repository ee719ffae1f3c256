"""The read tables a second time, in a schema of their own, until they take the first ones' place.

The shadow schema is migrated like the serving one, so that every table and index has the same
shape and name; a connection whose search_path is the shadow schema finds them by the same SQL.
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

SERVING, SHADOW = "api", "api_rebuild"
_ALONE = 0x77615F72656275  # "wa_rebu"


class CannotRebuild(Refusal):
    """A rebuild cannot start or go on; what is served is as it was."""


@dataclass(frozen=True)
class Checked:
    """How far the serving tables say that a session is projected."""

    applied: int
    seen: int


def shadow_url(url: str) -> str:
    """The api's database URL, for connections that find the shadow tables.

    They do not wait for the disk: the swap's commit does, and that brings all before it there.
    """
    parts = urlsplit(url)
    query = dict(parse_qsl(parts.query)) | {"search_path": SHADOW, "synchronous_commit": "off"}
    return parts._replace(query=urlencode(query)).geturl()


@asynccontextmanager
async def alone(url: str) -> AsyncIterator[asyncio.Event]:
    """Be the only rebuild during the block, or until the event is set: the connection was lost.

    Raises:
        CannotRebuild: another one is running.
        OSError, asyncpg.PostgresError: the database is away.
    """
    connection = await asyncpg.connect(url)
    try:
        if not await connection.fetchval("SELECT pg_try_advisory_lock($1)", _ALONE):
            raise CannotRebuild("Another rebuild is running.")
        lost = asyncio.Event()
        connection.add_termination_listener(lambda _: lost.set())
        yield lost
    finally:
        connection.terminate()


async def prepare(url: str) -> None:
    """Clear the shadow schema and make its tables anew.

    Raises:
        CannotRebuild: the schemas are not those that this expects.
        OSError, asyncpg.PostgresError: the database is away.
    """
    connection = await asyncpg.connect(url)
    try:
        await _check_schemas(connection)
        await connection.execute(_CLEAR)
    finally:
        await connection.close()
    await migrate(shadow_url(url), "wa_api")


async def clear(url: str) -> None:
    """Remove what is left in the shadow schema."""
    connection = await asyncpg.connect(url)
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
    """Sessions of which the serving tables have, or have seen, more than the shadow."""
    rows = await connection.fetch(_BEHIND)
    return {r["session_id"]: Checked(r["applied_sequence"], r["seen_sequence"]) for r in rows}


async def swap(connection: Connection) -> None:
    """Put the shadow tables in the place of the serving ones, within the open transaction.

    Sessions whose events the feed does not have yet are marked: the projector gives them to it.

    Raises:
        CannotRebuild: the serving schema was migrated meanwhile.
        asyncpg.LockNotAvailableError: somebody reads for long; try again.
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
_LOCK_TIMEOUT = "SET LOCAL lock_timeout = '500ms'"  # less than deadlock_timeout: we give way
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
    DROP TABLE api.sessions, api.messages, api.checkpoints;
    ALTER TABLE api_rebuild.sessions SET SCHEMA api;
    ALTER TABLE api_rebuild.messages SET SCHEMA api;
    ALTER TABLE api_rebuild.checkpoints SET SCHEMA api;
"""
