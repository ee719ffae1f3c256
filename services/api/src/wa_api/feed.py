"""Reads of the feed: events in the order of their projection, from a position on."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from wa_api.database import Database

BATCH = 500


@dataclass(frozen=True)
class FeedEntry:
    """One event. `event` is the envelope as JSON text."""

    position: int
    type: str
    event: str


@dataclass(frozen=True)
class FeedFilter:
    """Which events to follow; None means any."""

    session_id: UUID | None = None
    type: str | None = None


class Feed:
    """The feed table. Every method raises DatabaseUnavailable while it cannot be read."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def end(self) -> int:
        """The position of the newest event; 0 if there is none."""
        async with self._database.connection() as connection:
            return await connection.fetchval(_END) or 0

    async def after(self, position: int, wanted: FeedFilter) -> Sequence[FeedEntry]:
        """The next events after a position, `BATCH` at most."""
        async with self._database.connection() as connection:
            rows = await connection.fetch(_AFTER, position, wanted.session_id, wanted.type, BATCH)
        return [FeedEntry(row["position"], row["type"], row["event"]) for row in rows]


_END = "SELECT max(position) FROM feed"
_AFTER = """
    SELECT position, type, event::text AS event FROM feed
    WHERE position > $1
      AND ($2::uuid IS NULL OR session_id = $2)
      AND ($3::text IS NULL OR type = $3)
    ORDER BY position LIMIT $4
"""
