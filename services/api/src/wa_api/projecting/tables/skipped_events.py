"""Places of the sessions' orders that were passed over, because their events could not be used."""

from collections import defaultdict
from collections.abc import Collection, Mapping
from uuid import UUID

from wa_api.database.pool import Connection

Place = tuple[UUID, int]
"""A session and a sequence."""


async def load(
    connection: Connection, sessions: Collection[UUID]
) -> Mapping[UUID, Collection[int]]:
    """The sessions' skipped sequences."""
    found: defaultdict[UUID, set[int]] = defaultdict(set)
    for row in await connection.fetch(_LOAD, list(sessions)):
        found[row["session_id"]].add(row["sequence"])
    return found


async def add(connection: Connection, places: Collection[Place]) -> None:
    await connection.execute(_ADD, *zip(*places, strict=True))


async def remove(connection: Connection, places: Collection[Place]) -> None:
    await connection.execute(_REMOVE, *zip(*places, strict=True))


_LOAD = "SELECT session_id, sequence FROM skipped_events WHERE session_id = ANY($1::uuid[])"
_ADD = """
    INSERT INTO skipped_events (session_id, sequence) SELECT * FROM unnest($1::uuid[], $2::bigint[])
    ON CONFLICT DO NOTHING
"""
_REMOVE = """
    DELETE FROM skipped_events
    WHERE (session_id, sequence) IN (SELECT * FROM unnest($1::uuid[], $2::bigint[]))
"""
