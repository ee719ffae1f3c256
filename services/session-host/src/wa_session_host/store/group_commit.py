"""The only writer of a host: group commit, fenced by the partitions' leases."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import TypeVar
from uuid import UUID

import asyncpg
import structlog
from opentelemetry.context import Context, get_current

from wa_contracts.ids import EventId, SessionId, new_id
from wa_runtime.postgres import DATABASE_ERRORS, KeptConnection, is_unavailable
from wa_runtime.traces import shared_span, traceparent
from wa_session_host.store.stored_event import (
    INTERNAL_EVENTS,
    Append,
    FencingToken,
    LeaseLost,
    StoredEvent,
    VersionConflict,
)

log = structlog.get_logger()

BATCH = 500
"""Upper limit of appends in a statement. A running statement blocks the renewal of its leases."""
FIRST_RETRY_SECONDS = 0.02
RETRY_SECONDS = 0.2
LONGEST_PAUSE_SECONDS = 0.005
"""Upper limit of the gather pause between two statements."""

APPEND = """
WITH held AS MATERIALIZED (
    SELECT partition FROM partitions
    WHERE host = $1 AND expires_at > clock_timestamp()
      AND (partition, fencing_token) IN (SELECT * FROM unnest($2::smallint[], $3::bigint[]))
    ORDER BY partition FOR SHARE
)
INSERT INTO events (partition, session_id, session_sequence, stream, stream_version, id, type,
                    version, occurred_at, correlation_id, causation_id, data, private, reply_to,
                    traceparent)
SELECT e.partition, e.session_id, e.session_sequence, e.stream, e.stream_version, e.id, e.type,
       e.version, e.occurred_at, e.correlation_id, e.causation_id, e.data::jsonb,
       e.private::jsonb, e.reply_to, e.traceparent
FROM unnest($4::smallint[], $5::uuid[], $6::bigint[], $7::text[], $8::int[], $9::uuid[],
            $10::text[], $11::smallint[], $12::timestamptz[], $13::uuid[], $14::uuid[],
            $15::text[], $16::text[], $17::text[], $18::text[]) WITH ORDINALITY
     AS e (partition, session_id, session_sequence, stream, stream_version, id, type, version,
           occurred_at, correlation_id, causation_id, data, private, reply_to, traceparent,
           ordinality)
JOIN held USING (partition)
ORDER BY e.ordinality
RETURNING id, position
"""

LAST_SEQUENCES = """
SELECT session_id, last.sequence
FROM unnest($1::uuid[]) AS asked (session_id)
CROSS JOIN LATERAL (
    SELECT max(session_sequence) AS sequence FROM events
    WHERE events.session_id = asked.session_id
) AS last
"""

POSITIONS = "SELECT id, position FROM events WHERE id = ANY($1) AND stream = ANY($2)"


T = TypeVar("T")
Stored = asyncio.Future[list[StoredEvent]]


@dataclass(frozen=True, eq=False)
class _Opened:
    """A partition that accepts appends. `sequences` has the sessions that were appended to."""

    partition: int
    token: FencingToken
    on_stored: Callable[[list[StoredEvent]], None]
    sequences: dict[SessionId, int] = field(default_factory=dict)


@dataclass(frozen=True)
class _Pending:
    append: Append
    opened: _Opened
    future: Stored
    context: Context


@dataclass(frozen=True)
class _Prepared:
    pending: _Pending
    rows: list[StoredEvent]


class GroupCommitWriter:
    """Appends to streams. Appends that arrive during a commit share the next statement.

    A lone append is written at once. After a statement of several appends, the writer gathers for
    as long as that statement took, at most LONGEST_PAUSE_SECONDS, unless the batch is full. An
    append and its events belong to the caller's trace. A refused batch is halved until the refused
    appends stand alone. While the database is unavailable, the same rows are retried until stored
    or until the lease is lost. Rows stored by a commit with a lost answer are found by their ids:
    nothing of a batch is given back before the store has answered that.
    """

    def __init__(
        self, connection: KeptConnection, host: str, clock: Callable[[], datetime]
    ) -> None:
        """`connection` is used by this writer only, and closed by the caller.

        `host` is this host's name in the leases.
        """
        self._connection = connection
        self._host = host
        self._clock = clock
        self._pending: list[_Pending] = []
        self._wake = asyncio.Event()
        self._opened: dict[int, _Opened] = {}

    def open_partition(
        self,
        partition: int,
        token: FencingToken,
        on_stored: Callable[[list[StoredEvent]], None],
    ) -> None:
        """Accept appends for a partition. `on_stored` gets its events in the order of storing.

        The lease must be held: a session's last sequence is read before its first append.
        """
        self._opened[partition] = _Opened(partition, token, on_stored)

    def close_partition(self, partition: int, token: FencingToken) -> None:
        """Stop writing under this token: its pending appends fail with LeaseLost."""
        opened = self._opened.get(partition)
        if opened is not None and opened.token == token:
            del self._opened[partition]

    def append(self, append: Append) -> Stored:
        """Store events durably.

        The future returns the stored events, or raises VersionConflict or LeaseLost. Appends of one
        partition are stored, and their futures complete, in the order of the calls. An append
        belongs to the token at its call: it is never stored under a later one.
        """
        future: Stored = asyncio.get_running_loop().create_future()
        opened = self._opened.get(append.partition)
        if opened is None:
            _reject(future, LeaseLost(f"partition {append.partition}"))
        else:
            self._pending.append(_Pending(append, opened, future, get_current()))
            self._wake.set()
        return future

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._pending:
                batch = self._next_batch()
                began = loop.time()
                await self._write(batch)
                if len(batch) > 1 and len(self._pending) < BATCH:
                    await asyncio.sleep(min(loop.time() - began, LONGEST_PAUSE_SECONDS))

    def _next_batch(self) -> list[_Pending]:
        """The next appends, all of a partition under one token."""
        batch, self._pending = self._pending[:BATCH], self._pending[BATCH:]
        for one in batch:
            if not self._is_held(one):
                _reject(one.future, LeaseLost(f"partition {one.append.partition}"))
        return [one for one in batch if self._is_held(one)]

    async def _write(self, batch: list[_Pending]) -> None:
        prepared: list[_Prepared] = []
        try:
            with shared_span("store", (pending.context for pending in batch)):
                await self._read_sequences(batch)
                prepared = [one for pending in batch if (one := self._prepared(pending))]
                positions = await self._insert_until_known(prepared)
        except DATABASE_ERRORS as error:
            for one in prepared:
                self._release_sequences(one)
            if len(batch) > 1:
                middle = len(batch) // 2
                await self._write(batch[:middle])
                await self._write(batch[middle:])
            else:
                _reject(batch[0].future, _translate(error, batch[0].append))
            return
        for one in prepared:
            self._complete(one, positions)

    def _is_held(self, pending: _Pending) -> bool:
        return self._opened.get(pending.opened.partition) is pending.opened

    async def _read_sequences(self, batch: list[_Pending]) -> None:
        """Read the last sequences of sessions that this owner has not appended to."""
        unread = {
            one.append.session_id: one.opened.sequences
            for one in batch
            if one.append.session_id not in one.opened.sequences
        }
        if not unread:
            return
        read = partial(self._connection.fetch, LAST_SEQUENCES, list(unread))
        for row in await self._until_answered(batch, lambda _: read()) or ():
            unread[row["session_id"]][row["session_id"]] = row["sequence"] or 0

    async def _insert_until_known(self, prepared: list[_Prepared]) -> dict[UUID, int]:
        """Insert, and resolve lost answers. Rows absent from the result lost their lease.

        Raises:
            One of DATABASE_ERRORS: a fault of the rows, none of which is stored.
        """
        pending = [one.pending for one in prepared]
        return await self._until_answered(pending, partial(self._insert_or_find, prepared)) or {}

    async def _until_answered(
        self, batch: list[_Pending], statement: Callable[[bool], Awaitable[T]]
    ) -> T | None:
        """Run a statement until the database answers; None once all leases of the batch are lost.

        `statement` gets whether an earlier answer was lost.

        Raises:
            One of DATABASE_ERRORS: a fault of the statement or its values.
        """
        in_doubt = False
        pause = FIRST_RETRY_SECONDS
        while any(map(self._is_held, batch)):
            try:
                return await statement(in_doubt)
            except DATABASE_ERRORS as error:
                if not is_unavailable(error):
                    raise
                in_doubt = True
                log.warning("event_store_unreachable", error=repr(error), appends=len(batch))
                await asyncio.sleep(pause)
                pause = min(pause * 2, RETRY_SECONDS)
        return None

    async def _insert_or_find(self, prepared: list[_Prepared], in_doubt: bool) -> dict[UUID, int]:
        """Insert. If an earlier answer was lost, look refused rows up: they may be stored."""
        try:
            return await self._insert(prepared)
        except DATABASE_ERRORS as error:
            if is_unavailable(error):
                raise
            if in_doubt and (known := await self._positions(prepared)):
                return known
            raise

    async def _positions(self, prepared: list[_Prepared]) -> dict[UUID, int]:
        rows = [row for one in prepared for row in one.rows]
        found = await self._connection.fetch(
            POSITIONS, [row.id for row in rows], list({row.stream for row in rows})
        )
        return {row["id"]: row["position"] for row in found}

    async def _insert(self, prepared: list[_Prepared]) -> dict[UUID, int]:
        rows = [row for one in prepared for row in one.rows]
        leases = {(one.pending.opened.partition, one.pending.opened.token) for one in prepared}
        found = await self._connection.fetch(
            APPEND,
            self._host,
            *zip(*leases, strict=True),
            *list(zip(*rows, strict=True))[1:],  # all but the position
        )
        return {row["id"]: row["position"] for row in found}

    def _prepared(self, pending: _Pending) -> _Prepared | None:
        """The rows of an append. None if it cannot be written as JSON: its future fails."""
        append = pending.append
        try:
            data = [event.model_dump_json() for event in append.events]
            content = append.content.model_dump_json() if append.content else None
        except ValueError as error:
            _reject(pending.future, error)
            return None
        trace, now = traceparent(pending.context), self._clock()
        sequences = pending.opened.sequences
        rows = []
        for index, event in enumerate(append.events):
            rows.append(
                StoredEvent(
                    position=0,
                    partition=append.partition,
                    session_id=append.session_id,
                    session_sequence=_next_sequence(sequences, append.session_id, event.TYPE),
                    stream=append.stream,
                    stream_version=append.expected_version + index + 1,
                    id=EventId(new_id()),
                    type=event.TYPE,
                    version=event.VERSION,
                    occurred_at=now,
                    correlation_id=append.correlation_id,
                    causation_id=append.causation_id,
                    data_json=data[index],
                    content_json=content if index == 0 else None,
                    reply_to=append.reply_to,
                    traceparent=trace,
                )
            )
        return _Prepared(pending, rows)

    def _release_sequences(self, prepared: _Prepared) -> None:
        """Free the sequences of events that were not stored."""
        given = sum(row.session_sequence is not None for row in prepared.rows)
        sequences = prepared.pending.opened.sequences
        if given:
            sequences[prepared.pending.append.session_id] -= given

    def _complete(self, prepared: _Prepared, positions: Mapping[UUID, int]) -> None:
        append, future = prepared.pending.append, prepared.pending.future
        if any(row.id not in positions for row in prepared.rows):
            _reject(future, LeaseLost(f"partition {append.partition}"))
            return
        stored = [row._replace(position=positions[row.id]) for row in prepared.rows]
        prepared.pending.opened.on_stored(stored)
        if not future.done():
            future.set_result(stored)


def _next_sequence(
    sequences: dict[SessionId, int], session_id: SessionId, event_type: str
) -> int | None:
    if event_type in INTERNAL_EVENTS:
        return None
    sequences[session_id] = sequences.get(session_id, 0) + 1
    return sequences[session_id]


def _translate(error: Exception, append: Append) -> Exception:
    if isinstance(error, asyncpg.UniqueViolationError):
        return VersionConflict(append.stream)
    return error


def _reject(future: Stored, error: Exception) -> None:
    if not future.done():
        future.set_exception(error)
