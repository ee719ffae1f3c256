"""What the projector makes of events that wait for it, beside bare asyncpg, by turns in the same run.

Bare: the same events appended to a table like the feed, and their messages upserted into one like the
product's, in batches of the same size; no broker, nothing decoded, no order kept. Both on one Postgres.
"""

import asyncio
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from statistics import median

import asyncpg

from tests.bench.figures import Figure
from tests.bench.installation import Servers
from tests.bench.queued import publish
from wa_contracts.codec import encode
from wa_contracts.envelope import Envelope
from wa_contracts.ids import EventId, MessageId, SessionId, message_stream, new_id, session_stream
from wa_contracts.internal.bundle import BUNDLE, frame_bundle
from wa_contracts.internal.commands import MessageType
from wa_contracts.message_events import MessageDelivered, MessageQueued, MessageSent
from wa_contracts.session_events import Event, SessionConnected, SessionCreated
from wa_contracts.topology import PROJECTOR

SESSIONS = 50
EVENTS_OF_A_BUNDLE = 40
"""About what a busy host gathers for one message: two events of each of 400 messages a second, for 50 ms."""
BATCH = 1000
"""The projector's."""
LOOK_SECONDS = 0.01
ROUND_SECONDS = 60
TO = "919876543210"


async def measure(servers: Servers) -> Sequence[Figure]:
    """Events a second from the first to the last batch of each round; the process's start is left out."""
    rounds, messages = (1, 1_000) if servers.short else (5, 20_000)
    history = _History()
    async with servers.ring(hosts=0, apis=0) as ring:
        await ring.end("projector")
        connection = await asyncpg.connect(ring.databases.api)
        try:
            await connection.execute(BARE_TABLES)
            await publish(ring.broker, "", _queued(history.opened()), kind=BUNDLE)
            ring.start_projector()
            await _projected(connection, history.length)
            product, bare = [], []
            for _ in range(rounds):
                await ring.end("projector")
                events = history.messages(messages)
                await publish(ring.broker, "", _queued(events), kind=BUNDLE)
                ring.start_projector()
                product.append(await _projected(connection, history.length))
                bare.append(await _stored_bare(connection, events))
        finally:
            await connection.close()
    ratios = [one / other for one, other in zip(product, bare, strict=True)]
    return [
        Figure("projection: projector ÷ bare asyncpg", median(ratios), target=0.5, rounds=ratios),
        Figure("projection: projector", median(product), "events/s", rounds=product),
        Figure("projection: bare asyncpg", median(bare), "events/s", rounds=bare),
    ]


class _History:
    """Events of some sessions as their hosts would have published them."""

    def __init__(self) -> None:
        self._sequences = {SessionId(new_id()): 0 for _ in range(SESSIONS)}

    @property
    def length(self) -> int:
        """How many events there are so far."""
        return sum(self._sequences.values())

    def opened(self) -> list[Envelope]:
        """The sessions' first."""
        return [
            self._next(session, session_stream(session), version, data)
            for session in self._sequences
            for version, data in enumerate(
                (
                    SessionCreated(name="bench"),
                    SessionConnected(phone_number="12345678900", connected_at=datetime.now(UTC)),
                ),
                start=1,
            )
        ]

    def messages(self, number: int) -> list[Envelope]:
        """So many messages of all sessions in turn: queued, sent, delivered."""
        sessions = list(self._sequences)
        return [
            event
            for nth in range(number)
            for event in self._message(sessions[nth % len(sessions)], MessageId(new_id()))
        ]

    def _message(self, session: SessionId, id_: MessageId) -> Iterator[Envelope]:
        now, whatsapp_id = datetime.now(UTC), f"3EB0{id_.hex[:18].upper()}"
        later = now + timedelta(hours=24)
        for version, data in (
            (1, MessageQueued(id=id_, to=TO, type=MessageType.TEXT, expires_at=later)),
            (
                3,
                MessageSent(
                    id=id_, message_id=whatsapp_id, to=TO, type=MessageType.TEXT, sent_at=now
                ),
            ),
            (4, MessageDelivered(id=id_, message_id=whatsapp_id, to=TO, delivered_at=now)),
        ):
            yield self._next(session, message_stream(id_), version, data)

    def _next(self, session: SessionId, stream: str, version: int, data: Event) -> Envelope:
        self._sequences[session] += 1
        return Envelope(
            id=EventId(new_id()),
            type=data.TYPE,
            version=data.VERSION,
            session_id=session,
            session_sequence=self._sequences[session],
            stream=stream,
            stream_version=version,
            occurred_at=datetime.now(UTC),
            correlation_id=new_id(),
            causation_id=new_id(),
            data=data,
        )


def _queued(events: Sequence[Envelope]) -> Iterator[tuple[str, bytes]]:
    return (
        (PROJECTOR, frame_bundle(map(_bundled, part)))
        for part in _parts(events, EVENTS_OF_A_BUNDLE)
    )


def _bundled(event: Envelope) -> tuple[int, bytes, None]:
    return event.session_sequence - 1, encode(event), None


async def _projected(connection: "asyncpg.Connection[asyncpg.Record]", last: int) -> float:
    """Wait until so many are; how many a second after the first batch of those."""
    began_with = applied = first = int(await connection.fetchval(APPLIED))
    began = time.perf_counter()
    async with asyncio.timeout(ROUND_SECONDS):
        while applied < last:
            await asyncio.sleep(LOOK_SECONDS)
            applied = int(await connection.fetchval(APPLIED))
            if first == began_with < applied:
                first, began = applied, time.perf_counter()
    return (last - first) / (time.perf_counter() - began)


async def _stored_bare(
    connection: "asyncpg.Connection[asyncpg.Record]", events: Sequence[Envelope]
) -> float:
    """Store them as barely as can be; how many a second."""
    batches = [(_event_columns(part), _message_columns(part)) for part in _parts(events, BATCH)]
    began = time.perf_counter()
    for appended, upserted in batches:
        async with connection.transaction():
            await connection.execute(BARE_APPEND, *appended)
            await connection.execute(BARE_UPSERT, *upserted)
    return len(events) / (time.perf_counter() - began)


def _event_columns(events: Sequence[Envelope]) -> list[list[object]]:
    rows = ((event.session_id, event.type, encode(event).decode()) for event in events)
    return [list(column) for column in zip(*rows, strict=True)]


def _message_columns(events: Sequence[Envelope]) -> list[list[object]]:
    """One row a message, as its last event in the batch leaves it."""
    rows = {}
    for event in events:
        data = event.data
        id_: MessageId = data.id  # type: ignore[attr-defined]
        whatsapp_id = getattr(data, "message_id", None)
        sent_at, delivered_at = getattr(data, "sent_at", None), getattr(data, "delivered_at", None)
        status = event.type.removeprefix("message.")
        at = event.occurred_at
        rows[id_] = (id_, whatsapp_id, event.session_id, status, at, at, sent_at, delivered_at)
    return [list(column) for column in zip(*rows.values(), strict=True)]


def _parts(events: Sequence[Envelope], size: int) -> Iterator[Sequence[Envelope]]:
    return (events[at : at + size] for at in range(0, len(events), size))


APPLIED = "SELECT coalesce(sum(applied_sequence), 0) FROM checkpoints"
BARE_TABLES = """
    CREATE TABLE bare_feed (LIKE feed INCLUDING ALL);
    CREATE TABLE bare_messages (LIKE messages INCLUDING ALL);
"""
BARE_APPEND = """
    INSERT INTO bare_feed (session_id, type, event)
    SELECT * FROM unnest($1::uuid[], $2::text[], $3::jsonb[])
"""
BARE_UPSERT = f"""
    INSERT INTO bare_messages (id, message_id, session_id, direction, recipient, type, status,
        created_at, changed_at, sent_at, delivered_at)
    SELECT id, message_id, session_id, 'outgoing', '{TO}', 'text', status,
        created_at, changed_at, sent_at, delivered_at
    FROM unnest($1::uuid[], $2::text[], $3::uuid[], $4::text[], $5::timestamptz[],
        $6::timestamptz[], $7::timestamptz[], $8::timestamptz[])
        AS row (id, message_id, session_id, status, created_at, changed_at, sent_at, delivered_at)
    ON CONFLICT (id) DO UPDATE SET
        message_id = excluded.message_id, status = excluded.status,
        changed_at = excluded.changed_at, delivered_at = excluded.delivered_at
"""
