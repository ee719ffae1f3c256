"""How far each session's events have been projected."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from uuid import UUID

from wa_api.database.pool import Connection, Database
from wa_contracts.ids import SessionId


@dataclass(slots=True)
class Checkpoint:
    """`applied` of a session's events are projected; `seen` is the highest that ever arrived.

    `fed` is how far the feed has them, where a rebuild left it behind; None: as far as applied.
    """

    applied: int = 0
    seen: int = 0
    fed: int | None = None

    @property
    def done(self) -> int:
        """Up to which sequence the events are in the read tables and in the feed."""
        return self.applied if self.fed is None else self.fed


async def load(connection: Connection, sessions: Collection[UUID]) -> dict[UUID, Checkpoint]:
    """The checkpoints of these sessions, from zero for unknown ones."""
    rows = await connection.fetch(_LOAD, list(sessions))
    known = {
        r["session_id"]: Checkpoint(r["applied_sequence"], r["seen_sequence"], r["fed_sequence"])
        for r in rows
    }
    return {session: known.get(session, Checkpoint()) for session in sessions}


async def save(connection: Connection, checkpoints: Mapping[UUID, Checkpoint]) -> None:
    """Store them."""
    await connection.execute(
        _SAVE,
        list(checkpoints),
        [checkpoint.applied for checkpoint in checkpoints.values()],
        [checkpoint.seen for checkpoint in checkpoints.values()],
        [checkpoint.fed for checkpoint in checkpoints.values()],
    )


async def gaps(connection: Connection) -> dict[UUID, int]:
    """Sessions with missing events, and the first sequence that is missing."""
    return {row["session_id"]: row["missing"] for row in await connection.fetch(_GAPS)}


async def applied_sequence(database: Database, session_id: SessionId) -> int:
    """The sequence of the session's last projected event; 0 for none.

    Raises:
        DatabaseUnavailable: not known now.
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
