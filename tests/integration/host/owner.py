"""A writer that holds every partition, and events for it."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast
from uuid import uuid4

import asyncpg
from prometheus_client import CollectorRegistry

from wa_contracts.ids import MessageId, SessionId
from wa_contracts.internal.commands import MessageType
from wa_contracts.message_events import MessageQueued, MessageScheduled
from wa_contracts.session_events import Event
from wa_contracts.topology import PARTITIONS
from wa_runtime.media_store.store import MediaStore
from wa_runtime.postgres import KeptConnection
from wa_session_host.domain.message import Content
from wa_session_host.domain.pacing import PaceRule
from wa_session_host.engine.simulated.engine import Script, SimulatedEngines
from wa_session_host.media.conversion import Converter
from wa_session_host.media.fetching import MediaFetcher
from wa_session_host.metrics import HostMetrics
from wa_session_host.sessions.context import SessionContext
from wa_session_host.sessions.tracked_message import BoundedCache
from wa_session_host.store.event_store import EventStore
from wa_session_host.store.group_commit import GroupCommitWriter
from wa_session_host.store.leases import Claim, Leases
from wa_session_host.store.stored_event import Append, StoredEvent

HOST = "host-a"
_OUTGOING = (MessageScheduled, MessageQueued)


def now() -> datetime:
    """The clock."""
    return datetime.now(UTC)


class Owner:
    """A writer that holds every partition."""

    def __init__(self, writer: GroupCommitWriter, claims: dict[int, Claim]) -> None:
        self.writer = writer
        self.claims = claims
        self.relayed: list[StoredEvent] = []

    async def append(
        self, session_id: SessionId, stream: str, version: int, *events: Event
    ) -> list[StoredEvent]:
        """Append to a session's stream."""
        return await self.writer.append(self.of(session_id, stream, version, *events))

    def of(self, session_id: SessionId, stream: str, version: int, *events: Event) -> Append:
        """The append itself."""
        return Append(
            partition=1,
            session_id=session_id,
            stream=stream,
            expected_version=version,
            events=events,
            correlation_id=uuid4(),
            causation_id=uuid4(),
            content=Content(text="a secret") if isinstance(events[0], _OUTGOING) else None,
        )


@asynccontextmanager
async def owning(database_url: str, leases: Leases) -> AsyncIterator[Owner]:
    """Claim everything and write."""
    await leases.renew({})
    claims = {claim.partition: claim for claim in await leases.claim(PARTITIONS)}
    connection = KeptConnection(lambda: asyncpg.connect(database_url))
    writer = GroupCommitWriter(connection, HOST, now)
    owner = Owner(writer, claims)
    for claim in claims.values():
        writer.open_partition(claim.partition, claim.token, owner.relayed.extend)
    running = asyncio.create_task(writer.run())
    try:
        yield owner
    finally:
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running
        connection.terminate()


def session_context(
    owner: Owner,
    store: EventStore,
    *,
    clock: Callable[[], datetime] = now,
    retention: timedelta = timedelta(days=30),
) -> SessionContext:
    """What sessions share, with simulated engines and no media."""
    nowhere, engines = Path("/nonexistent"), SimulatedEngines(Script())
    return SessionContext(
        writer=owner.writer,
        store=store,
        engines=engines,
        media=MediaFetcher(
            media_root=nowhere,
            spool=nowhere,
            max_bytes=1000,
            allowed_hosts=(),
            converter=Converter(engines.start_decoder, spool=nowhere, max_bytes=1000),
            store=MediaStore(nowhere.as_uri()),
        ),
        incoming_media=cast("Any", None),
        clock=clock,
        metrics=HostMetrics(CollectorRegistry()),
        sent_messages=BoundedCache(10),
        contents=BoundedCache(1000),
        pace=PaceRule(),
        login_seconds=30,
        retention=retention,
    )


def queued(message_id: MessageId) -> MessageQueued:
    """A queued message's event."""
    return MessageQueued(
        id=message_id,
        to="919876543210",
        type=MessageType.TEXT,
        expires_at=now() + timedelta(hours=1),
    )
