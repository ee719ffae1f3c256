"""Creates deliveries from the feed: one per event and interested endpoint.

A batch and the new feed position commit together, so a killed process resumes without loss or
duplicates. Endpoints are read after the end of the batch is fixed, so that an endpoint receives
every event after its creation.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from wa_api.database.pool import Database

BATCH = 500


@dataclass(frozen=True)
class Made:
    """A new waiting delivery."""

    endpoint_id: UUID
    queue: UUID


@dataclass(frozen=True)
class FannedOut:
    """Result of a batch. `refused` deliveries exceeded the backlog limit and were given up."""

    made: Sequence[Made]
    refused: int
    more: bool


class FanOut:
    """Advances the fan-out position in the feed. Used by the leader only."""

    def __init__(self, database: Database, *, backlog_limit: int) -> None:
        self._database = database
        self._backlog_limit = backlog_limit

    async def step(self, waiting: Mapping[UUID, int]) -> FannedOut:
        """Create the deliveries of the next batch. `waiting` is the backlog of each endpoint.

        Raises:
            DatabaseUnavailable: Nothing is created, or the commit is in doubt: reload all state.
        """
        async with self._database.transaction() as connection:
            begin = await connection.fetchval(_BEGIN)
            batch = await connection.fetchrow(_END, begin, BATCH)
            assert batch is not None
            if not batch["size"]:
                return FannedOut((), 0, more=False)
            end = batch["position"]
            rows = await connection.fetch(
                _MAKE, begin, end, list(waiting), list(waiting.values()), self._backlog_limit
            )
            await connection.execute(_MARK_SESSIONS_END, begin, end)
            await connection.execute(_MOVE, end)
        made = [Made(row["endpoint_id"], row["lane"]) for row in rows if row["waits"]]
        return FannedOut(made, len(rows) - len(made), more=batch["size"] == BATCH)


_BEGIN = "SELECT position FROM webhook_fan_out FOR UPDATE"
_END = """
    SELECT max(position) AS position, count(*) AS size
    FROM (SELECT position FROM feed WHERE position > $1 ORDER BY position LIMIT $2) AS next
"""
_MAKE = """
    WITH fed AS (
        SELECT position, session_id, type, (event ->> 'id')::uuid AS event_id FROM feed
        WHERE position > $1 AND position <= $2),
    wanted AS (
        SELECT e.id AS endpoint_id, e.from_position, e.types, e.deleted_at, f.*
        FROM fed f JOIN webhook_endpoints e ON e.session_id = f.session_id
        UNION ALL
        SELECT e.id, e.from_position, e.types, e.deleted_at, f.*
        FROM fed f JOIN webhook_endpoints e ON e.session_id IS NULL),
    placed AS (
        SELECT wanted.*, coalesce(known.waiting, 0)
            + row_number() OVER (PARTITION BY endpoint_id ORDER BY position) <= $5 AS waits
        FROM wanted LEFT JOIN unnest($3::uuid[], $4::int[]) AS known (endpoint_id, waiting)
            USING (endpoint_id)
        WHERE deleted_at IS NULL AND position > from_position
            AND (types IS NULL OR type = ANY(types)))
    INSERT INTO webhook_deliveries
        (id, endpoint_id, position, session_id, event_id, type, lane, status, reason, ended_at)
    SELECT gen_random_uuid(), endpoint_id, position, session_id, event_id, type, session_id,
        CASE WHEN waits THEN 'waiting' ELSE 'given_up' END,
        CASE WHEN NOT waits THEN 'backlog_full' END,
        CASE WHEN NOT waits THEN now() END
    FROM placed ORDER BY position
    RETURNING endpoint_id, lane, status = 'waiting' AS waits
"""
_MARK_SESSIONS_END = """
    UPDATE webhook_endpoints SET session_deleted_at = now()
    WHERE session_deleted_at IS NULL AND session_id IN (
        SELECT session_id FROM feed
        WHERE position > $1 AND position <= $2 AND type = 'session.deleted')
"""
_MOVE = "UPDATE webhook_fan_out SET position = $1"
