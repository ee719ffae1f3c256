"""Projection checkpoints, one per session."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from uuid import UUID

from wa_api.database.pool import Connection, Database
from wa_contracts.ids import SessionId


@dataclass(slots=True)
class Checkpoint:
    """Sequences of one session: `applied` is projected, `seen` is the highest that ever arrived.

    `fed` is the newest in the feed if a rebuild left the feed behind, else None.
    """

    applied: int = 0
    seen: int = 0
    fed: int | None = None

    @property
    def done(self) -> int:
        """Highest sequence that is both in the read tables and in the feed."""
        return self.applied if self.fed is None else self.fed


async def load(connection: Connection, sessions: Collection[UUID]) -> dict[UUID, Checkpoint]:
    """Load the sessions' checkpoints; unknown sessions start at zero."""
    rows = await connection.fetch(_LOAD, list(sessions))
    known = {
        r["session_id"]: Checkpoint(r["applied_sequence"], r["seen_sequence"], r["fed_sequence"])
        for r in rows
    }
    return {session: known.get(session, Checkpoint()) for session in sessions}


async def save(connection: Connection, checkpoints: Mapping[UUID, Checkpoint]) -> None:
    await connection.execute(
        _SAVE,
        list(checkpoints),
        [checkpoint.applied for checkpoint in checkpoints.values()],
        [checkpoint.seen for checkpoint in checkpoints.values()],
        [checkpoint.fed for checkpoint in checkpoints.values()],
    )


async def gaps(connection: Connection) -> dict[UUID, int]:
    """Sessions with a gap, and the first missing sequence of each."""
    return {row["session_id"]: row["missing"] for row in await connection.fetch(_GAPS)}


async def applied_sequence(database: Database, session_id: SessionId) -> int:
    """The sequence of the session's last projected event; 0 if there is none.

    Raises:
        DatabaseUnavailable: The checkpoint cannot be read.
    """
    async with database.connection() as connection:
        return await connection.fetchval(_APPLIED, session_id) or 0


_APPLIED = "SELECT applied_sequence FROM checkpoints WHERE session_id = $1"
_LOAD = """
    SELECT session_id, applied_sequence, seen_sequence, fed_sequence FROM checkpoints
    WHERE session_id = ANY($1::uuid[])
"""
_SAVE = """
    INSERT INTO checkpoints (session_id, applied_sequence, seen_sequence, fed_sequence)
    SELECT * FROM unnest($1::uuid[], $2::bigint[], $3::bigint[], $4::bigint[])
    ON CONFLICT (session_id) DO UPDATE SET
        applied_sequence = excluded.applied_sequence, seen_sequence = excluded.seen_sequence,
        fed_sequence = excluded.fed_sequence
"""
_GAPS = """
    SELECT session_id, coalesce(fed_sequence, applied_sequence) + 1 AS missing FROM checkpoints
    WHERE seen_sequence > coalesce(fed_sequence, applied_sequence) LIMIT 1000
"""
