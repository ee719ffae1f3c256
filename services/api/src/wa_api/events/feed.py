"""Reads the feed: events in projection order, after a position."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from uuid import UUID

from wa_api.database.pool import Database

BATCH = 500
BATCH_BYTES = 256 * 1024
"""Bytes. A page ends with the entry that reaches this limit, which bounds a slow reader's
memory."""


@dataclass(frozen=True)
class FeedEntry:
    """One event. `event` is the envelope as JSON text."""

    position: int
    session_id: UUID
    type: str
    event: str

    @cached_property
    def frame(self) -> bytes:
        """The Server-Sent Event, built once and shared by all readers."""
        return f"id: {self.position}\nevent: {self.type}\ndata: {self.event}\n\n".encode()


@dataclass(frozen=True)
class FeedFilter:
    """Events to follow. None matches any."""

    sessions: frozenset[UUID] | None = None
    types: frozenset[str] | None = None

    def wants(self, entry: FeedEntry) -> bool:
        return (self.sessions is None or entry.session_id in self.sessions) and (
            self.types is None or entry.type in self.types
        )


EVERYTHING = FeedFilter()


@dataclass(frozen=True)
class FeedPage:
    """Entries in order. Continue after `position`; if `more`, the next page may be ready."""

    entries: Sequence[FeedEntry]
    position: int
    more: bool


class Feed:
    """The feed table. Methods raise DatabaseUnavailable."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.reads = 0

    async def end(self) -> int:
        """Position of the newest event; 0 if there is none."""
        self.reads += 1
        async with self._database.connection() as connection:
            return await connection.fetchval(_END) or 0

    async def after(self, position: int, wanted: FeedFilter) -> FeedPage:
        """The next page of matching events after a position."""
        self.reads += 1
        given = [list(one) for one in (wanted.sessions, wanted.types) if one is not None]
        query = _after(of_sessions=wanted.sessions is not None, of_types=wanted.types is not None)
        async with self._database.connection() as connection:
            rows = await connection.fetch(query, position, BATCH, BATCH_BYTES, *given)
        entries = [
            FeedEntry(row["position"], row["session_id"], row["type"], row["event"]) for row in rows
        ]
        if not rows:
            return FeedPage((), position, more=False)
        more = len(rows) == BATCH or rows[-1]["total"] >= BATCH_BYTES
        return FeedPage(entries, entries[-1].position, more)


_END = "SELECT max(position) FROM feed"


@cache
def _after(*, of_sessions: bool, of_types: bool) -> str:
    """The next entries by the index of the filter: entries that do not match are never read.

    The parameters are position, entries, bytes, then the sessions, then the types. Rows are
    compared with both, not columns: only the index of these columns has that order, whatever the
    planner expects of a type.
    """
    entries = "SELECT position, session_id, type, event FROM feed WHERE"
    wanted = [("session_id", "uuid")] * of_sessions + [("type", "text")] * of_types
    if wanted:
        columns = ", ".join([*(name for name, _ in wanted), "position"])
        begin = ", ".join(f"one_{name}" for name, _ in wanted)
        given = " CROSS JOIN ".join(
            f"unnest(${number}::{kind}[]) AS given_{name} (one_{name})"
            for number, (name, kind) in enumerate(wanted, start=4)
        )
        entries = f"""
            SELECT found.* FROM {given}
            CROSS JOIN LATERAL (
                {entries} ({columns}) > ({begin}, $1) AND ({columns}) <= ({begin}, {_HIGHEST})
                ORDER BY {columns} LIMIT $2) AS found
        """
    else:
        entries += " position > $1"
    return f"""
        WITH next AS ({entries} ORDER BY position LIMIT $2),
        texts AS (SELECT position, session_id, type, event::text AS event FROM next),
        sized AS (
            SELECT *, sum(octet_length(event)) OVER (ORDER BY position) AS total FROM texts)
        SELECT position, session_id, type, event, total FROM sized
        WHERE total - octet_length(event) < $3 ORDER BY position
    """


_HIGHEST = 2**63 - 1
