"""The event store in memory: one table for all hosts, and faults at any statement."""

import asyncio
import itertools
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar
from uuid import UUID

import asyncpg

from wa_contracts.ids import CommandId, MessageId, SessionId
from wa_contracts.message_events import MessageScheduled
from wa_session_host.domain.message import Content
from wa_session_host.store.event_store import ENDS, RelayCheckpoint
from wa_session_host.store.group_commit import LAST_SEQUENCES, POSITIONS
from wa_session_host.store.leases import MARGIN_SECONDS, Claim, Renewal
from wa_session_host.store.stored_event import FencingToken, StoredEvent

T = TypeVar("T")

LATENCY_SECONDS = 0.001
LOST = asyncpg.ConnectionDoesNotExistError("connection was closed in the middle of operation")
FAULTS: dict[str, BaseException] = {
    "lost": LOST,
    "away": ConnectionRefusedError("refused"),
    "time out": TimeoutError(),
    "read-only": asyncpg.ReadOnlySQLTransactionError("read-only transaction"),
    "full": asyncpg.DiskFullError("no space left on device"),
    "deadlock": asyncpg.DeadlockDetectedError("deadlock detected"),
    "serialization": asyncpg.SerializationError("could not serialize access"),
}
"""Errors of statements. `lost` comes after the statement took effect, the others instead of it."""

UNSTORABLE = "a text that no table takes"
KINDS = ("append", "read", "load", "lease", "checkpoint")


@dataclass
class Lease:
    """One row of `partitions`."""

    host: str | None = None
    token: int = 0
    expires_at: float = 0.0
    relayed: int = 0


@dataclass
class Database:
    """Tables that survive their hosts. `epoch` is the time at which the loop's clock is 0."""

    partitions: dict[int, Lease]
    events: list[StoredEvent] = field(default_factory=list)
    faults: defaultdict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    """For each kind of statement what happens to the next ones: a fault, `slow`, or nothing."""
    outage: str | None = None
    """A fault of every statement."""
    hosts: dict[str, float] = field(default_factory=dict)
    epoch: datetime = datetime(2026, 1, 1, tzinfo=UTC)

    def __post_init__(self) -> None:
        self._ids: dict[UUID, StoredEvent] = {}
        self._keys: set[tuple[object, ...]] = set()
        self._positions = itertools.count(1)

    def now(self) -> datetime:
        """The database's clock."""
        return self.epoch + timedelta(seconds=asyncio.get_running_loop().time())

    async def statement(self, host: "Connection", kind: str, effect: Callable[[], T]) -> T:
        """Carry a statement out, or fail as the faults say. One of a host that is cut off hangs."""
        planned = self.faults[kind].pop(0) if self.faults[kind] else None
        fault = self.outage or planned
        await host.reaches()
        await asyncio.sleep(2.0 if fault == "slow" else LATENCY_SECONDS)
        await host.reaches()
        if fault in FAULTS and fault != "lost":
            raise FAULTS[fault]
        result = effect()
        await asyncio.sleep(LATENCY_SECONDS)
        await host.reaches()
        if fault == "lost":
            raise LOST
        return result

    def append(self, host: str, fences: Iterable[tuple[int, int]], rows: list[StoredEvent]) -> Any:
        """All rows of held partitions, or none."""
        now = asyncio.get_running_loop().time()
        held = {
            number
            for number, token in fences
            if (lease := self.partitions[number]).host == host
            and lease.token == token
            and lease.expires_at > now
        }
        rows = [row for row in rows if row.partition in held]
        keys = [("stream", row.stream, row.stream_version) for row in rows] + [
            ("session", row.session_id, row.session_sequence)
            for row in rows
            if row.session_sequence is not None
        ]
        if any("\\u0000" in row.data_json or UNSTORABLE in row.data_json for row in rows):
            raise asyncpg.UntranslatableCharacterError("unsupported Unicode escape sequence")
        if self._keys.intersection(keys) or len(set(keys)) < len(keys):
            raise asyncpg.UniqueViolationError("duplicate key")
        self._keys.update(keys)
        stored = [row._replace(position=next(self._positions)) for row in rows]
        self.events += stored
        self._ids |= {row.id: row for row in stored}
        return [{"id": row.id, "position": row.position} for row in stored]

    def positions(self, ids: Iterable[UUID]) -> Any:
        """Where these events are stored."""
        return [{"id": id_, "position": self._ids[id_].position} for id_ in ids if id_ in self._ids]

    def last_sequences(self, sessions: Iterable[SessionId]) -> Any:
        """The last sequence of each session."""
        last = dict.fromkeys(sessions, 0)
        for row in self.events:
            if row.session_id in last:
                last[row.session_id] = max(last[row.session_id], row.session_sequence or 0)
        return [{"session_id": one, "sequence": found or None} for one, found in last.items()]

    def open_streams(self, partition: int) -> set[str]:
        """Streams of messages that are queued and have not ended."""
        last: dict[str, tuple[int, int]] = {}
        for row in self.events:
            if row.partition != partition:
                continue
            queued, ended = last.get(row.stream, (0, 0))
            if row.type == "message.queued":
                queued = row.stream_version
            elif row.type in ENDS:
                ended = row.stream_version
            last[row.stream] = (queued, ended)
        return {stream for stream, (queued, ended) in last.items() if queued > ended}

    def save_checkpoint(self, host: str, one: RelayCheckpoint) -> None:
        """As UPDATE partitions."""
        lease = self.partitions[one.partition]
        if (lease.host, lease.token) == (host, one.token):
            lease.relayed = max(lease.relayed, one.relayed)


class Connection:
    """One host's connections. `cut` makes all of its statements hang: the host is killed."""

    def __init__(self, database: Database, host: str, lease_seconds: float) -> None:
        self.database = database
        self.is_cut = False
        self._host = host
        self._lease_seconds = lease_seconds

    async def reaches(self) -> None:
        """Return while the host lives; wait for ever after."""
        if self.is_cut:
            await asyncio.Event().wait()

    async def fetch(self, sql: str, *values: Any) -> Any:
        """The writer's three statements."""
        looks = {POSITIONS: self.database.positions, LAST_SEQUENCES: self.database.last_sequences}
        if sql in looks:
            return await self.database.statement(self, "read", lambda: looks[sql](values[0]))
        host, numbers, tokens, *columns = values
        rows = [StoredEvent(0, *row) for row in zip(*columns, strict=True)]
        fences = list(zip(numbers, tokens, strict=True))
        return await self.database.statement(
            self, "append", lambda: self.database.append(host, fences, rows)
        )


class Store:
    """EventStore on the table in memory."""

    def __init__(self, connection: Connection, host: str) -> None:
        self._connection = connection
        self._database = connection.database
        self._host = host

    async def _select(
        self, kind: str, choose: Callable[[StoredEvent], object]
    ) -> list[StoredEvent]:
        return await self._database.statement(
            self._connection, kind, lambda: [row for row in self._database.events if choose(row)]
        )

    async def stream(self, name: str) -> list[StoredEvent]:
        """A stream's events."""
        return await self._select("read", lambda row: row.stream == name)

    async def has_effect(self, stream: str, command_id: CommandId) -> bool:
        """Whether an event names the command as its cause."""
        return bool(
            await self._select(
                "read", lambda row: row.stream == stream and row.causation_id == command_id
            )
        )

    async def session_streams(self, partition: int) -> AsyncIterator[StoredEvent]:
        """The sessions' events."""
        for row in await self._select(
            "load", lambda row: row.partition == partition and row.stream.startswith("session-")
        ):
            yield row

    async def open_messages(self, partition: int) -> AsyncIterator[tuple[list[StoredEvent], int]]:
        """The events of open messages."""
        streams = self._database.open_streams(partition)
        rows = await self._select("load", lambda row: row.stream in streams)
        for stream in dict.fromkeys(row.stream for row in rows):
            yield [row for row in rows if row.stream == stream], 1

    async def scheduled(self, partition: int) -> tuple[dict[SessionId, int], datetime | None]:
        """Number of scheduled messages by session, and the first time."""
        waiting = await self._scheduled("load", partition)
        numbers: dict[SessionId, int] = {}
        for row in waiting.values():
            numbers[row.session_id] = numbers.get(row.session_id, 0) + 1
        return numbers, min((_due_at(row) for row in waiting.values()), default=None)

    async def due_messages(
        self, partition: int, at: datetime, limit: int, session_id: SessionId | None = None
    ) -> list[list[StoredEvent]]:
        """Streams of scheduled messages that are due."""
        waiting = await self._scheduled("read", partition)
        due = sorted(
            (_due_at(row), row.position, stream)
            for stream, row in waiting.items()
            if _due_at(row) <= at and session_id in {None, row.session_id}
        )
        return [
            [row for row in self._database.events if row.stream == stream]
            for _, _, stream in due[:limit]
        ]

    async def next_due(self, partition: int, after: datetime) -> datetime | None:
        """The next time."""
        waiting = await self._scheduled("read", partition)
        times = [_due_at(row) for row in waiting.values()]
        return min((one for one in times if one > after), default=None)

    async def _scheduled(self, kind: str, partition: int) -> dict[str, StoredEvent]:
        """The last `message.scheduled` of each stream that has not gone on."""
        found: dict[str, StoredEvent] = {}
        for row in await self._select(kind, lambda row: row.partition == partition):
            if row.type == "message.scheduled":
                found[row.stream] = row
            elif row.type in {"message.queued", "message.failed", "message.cancelled"}:
                found.pop(row.stream, None)
        return found

    async def content(self, stream: str) -> Content:
        """The content of a queued message."""
        rows = await self._select("read", lambda row: row.stream == stream)
        return next(found for row in rows if (found := row.content) is not None)

    async def events_after(self, partition: int, after: int, limit: int) -> list[StoredEvent]:
        """All events after a position."""
        rows = await self._select(
            "read", lambda row: row.partition == partition and row.position > after
        )
        return rows[:limit]

    async def extent_after(self, partition: int, after: int) -> tuple[int, int]:
        """Their number, and the last one's position."""
        rows = await self._select(
            "load", lambda row: row.partition == partition and row.position > after
        )
        return len(rows), max((row.position for row in rows), default=after)

    async def unknown_outcomes(self, session_id: SessionId) -> list[StoredEvent]:
        """Streams that ended as unknown."""
        rows = await self._select("read", lambda row: row.session_id == session_id)
        streams = {row.stream for row in rows if row.type == "message.unknown"}
        return [row for row in rows if row.stream in streams]

    async def message_of(self, session_id: SessionId, whatsapp_id: str) -> MessageId | None:
        """Ids of WhatsApp name no message here."""
        await self._select("read", lambda _: False)
        return None

    async def save_checkpoints(self, checkpoints: Sequence[RelayCheckpoint]) -> None:
        """Those of held partitions."""

        def save() -> None:
            for one in checkpoints:
                self._database.save_checkpoint(self._host, one)

        await self._database.statement(self._connection, "checkpoint", save)


def _due_at(row: StoredEvent) -> datetime:
    assert isinstance(row.event, MessageScheduled)
    return row.event.send_at


class ScriptedLeases:
    """Leases on the table in memory."""

    def __init__(self, connection: Connection, host: str, lease_seconds: float) -> None:
        self._connection = connection
        self._database = connection.database
        self._host = host
        self._seconds = lease_seconds

    async def renew(self, held: dict[int, FencingToken], *, staying: bool = True) -> Renewal:
        """Those that have not expired."""
        loop = asyncio.get_running_loop()
        asked_at = loop.time()

        def renewed() -> Renewal:
            now = loop.time()
            if staying:
                self._database.hosts[self._host] = now + self._seconds
            kept = set()
            for number, token in held.items():
                lease = self._database.partitions[number]
                if (lease.host, lease.token) == (self._host, token) and lease.expires_at > now:
                    lease.expires_at = now + self._seconds
                    kept.add(number)
            living = sum(until > now for until in self._database.hosts.values())
            share = -(-len(self._database.partitions) // max(living, 1))
            return Renewal(frozenset(kept), asked_at + self._seconds - MARGIN_SECONDS, share)

        return await self._database.statement(self._connection, "lease", renewed)

    async def claim(self, limit: int) -> Sequence[Claim]:
        """Free partitions."""

        def claimed() -> list[Claim]:
            now = asyncio.get_running_loop().time()
            free = [
                (number, lease)
                for number, lease in self._database.partitions.items()
                if lease.host is None or lease.expires_at < now
            ]
            for _, lease in free[:limit]:
                lease.host, lease.token = self._host, lease.token + 1
                lease.expires_at = now + self._seconds
            return [
                Claim(number, FencingToken(lease.token), lease.relayed)
                for number, lease in free[:limit]
            ]

        return await self._database.statement(self._connection, "lease", claimed)

    async def release(self, partition: int, token: FencingToken) -> None:
        """Free it, if it is held."""

        def released() -> None:
            lease = self._database.partitions[partition]
            if (lease.host, lease.token) == (self._host, token):
                lease.host, lease.expires_at = None, 0.0

        await self._database.statement(self._connection, "lease", released)

    async def deregister(self) -> None:
        """Leave the count."""
        await self._database.statement(
            self._connection, "lease", lambda: self._database.hosts.pop(self._host, None)
        )
