"""Events in the feed, endpoints for them, and a process that delivers."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from tests.deadlines import PATIENCE_SECONDS, eventually
from tests.integration.api.running import KEYS
from tests.integration.webhooks.receiver import Received, Receiver
from wa_api.access.credentials import Credentials
from wa_api.access.keys import derive
from wa_api.access.secret_box import WEBHOOKS, SecretBox
from wa_api.audit import Actor, ActorKind, AuditLog
from wa_api.database.pool import Database
from wa_api.processes.deliver import run_deliverer
from wa_api.projecting.order import Arrival
from wa_api.projecting.writer import ProjectionWriter
from wa_api.settings import Settings
from wa_api.webhooks.deliveries import Deliveries, DeliveryShown
from wa_api.webhooks.endpoints import Endpoint, EndpointChange, Endpoints, EndpointWithSecret
from wa_contracts.envelope import Envelope
from wa_contracts.ids import EventId, MessageId, SessionId, session_stream
from wa_contracts.message_events import MessageReceived
from wa_contracts.session_events import Event, SessionCreated, SessionDeleted

TO = "919876543210"
IMPATIENT = {
    "webhook_connect_seconds": 0.5,
    "webhook_answer_seconds": 0.5,
    "webhook_retry_first_seconds": 0.05,
    "webhook_retry_longest_seconds": 0.2,
    "webhook_retry_seconds": 60,
    "webhook_allowed_hosts": frozenset({"127.0.0.1"}),
}
"""Settings with which minutes pass in a second."""


OPERATOR = Actor(ActorKind.ADMIN_KEY, "admin key", "127.0.0.1")


class WebhookInstallation:
    """An api's database, as the projector and the operator write it."""

    def __init__(self, settings: Settings, database: Database, receiver: Receiver) -> None:
        self.settings = settings
        self.database = database
        self.receiver = receiver
        audit = AuditLog(database, keep=timedelta(days=365))
        secrets = SecretBox(derive(KEYS.encryption, WEBHOOKS))
        self.endpoints = Endpoints(database, secrets, audit, overlap=timedelta(hours=24))
        self.deliveries = Deliveries(database)
        self._writer = ProjectionWriter(database)
        self._sequences: dict[SessionId, int] = {}

    async def session(self) -> SessionId:
        """A new one, with its credentials."""
        session_id = SessionId(uuid4())
        async with self.database.transaction() as connection:
            await Credentials(self.database, SecretBox(bytes(32))).issue(connection, session_id)
        await self.happen(session_id, SessionCreated(name=None))
        return session_id

    async def happen(self, session_id: SessionId, *events: Event) -> None:
        """These are projected."""
        await self._writer.write([Arrival.of(self._envelope(session_id, one)) for one in events])

    async def receive(self, session_id: SessionId, count: int = 1, text: str = "hello") -> None:
        """So many messages arrive."""
        await self.happen(session_id, *[_received(text) for _ in range(count)])

    async def receive_media(self, session_id: SessionId) -> MessageId:
        """A picture arrives."""
        picture = _received("a caption").model_copy(
            update={"type": "image", "media_mime_type": "image/png", "media_size": 100}
        )
        await self.happen(session_id, picture)
        return picture.id

    async def receive_in_turn(self, sessions: Sequence[SessionId], rounds: int) -> None:
        """One message for each, again and again."""
        for _ in range(rounds):
            await self._writer.write(
                [Arrival.of(self._envelope(one, _received("hello"))) for one in sessions]
            )

    async def delete_session(self, session_id: SessionId) -> None:
        """Its last event."""
        await self.happen(session_id, SessionDeleted())

    def _envelope(self, session_id: SessionId, event: Event) -> Envelope:
        sequence = self._sequences[session_id] = self._sequences.get(session_id, 0) + 1
        return Envelope(
            id=EventId(uuid4()),
            type=event.TYPE,
            version=event.VERSION,
            session_id=session_id,
            session_sequence=sequence,
            stream=session_stream(session_id),
            stream_version=sequence,
            occurred_at=datetime.now(UTC),
            correlation_id=uuid4(),
            causation_id=uuid4(),
            data=event,
        )

    async def endpoint(
        self, path: str, session_id: UUID | None = None, *, host: str = "127.0.0.1", **wanted: Any
    ) -> EndpointWithSecret:
        """One at the receiver."""
        url = self.receiver.url(path, host)
        include_media = wanted.get("include_media", False)
        return await self.endpoints.create(
            *(OPERATOR, url, wanted.get("events"), session_id), include_media=include_media
        )

    async def set_paused(self, endpoint: Endpoint, *, paused: bool) -> None:
        """As the operator does."""
        change = EndpointChange(frozenset({"paused"}), paused=paused)
        await self.endpoints.change(OPERATOR, endpoint.id, change)

    async def shown(self, endpoint: Endpoint) -> Endpoint:
        """As it is now."""
        found = await self.endpoints.one(endpoint.id)
        assert found is not None
        return found

    async def log(self, endpoint: Endpoint) -> Sequence[DeliveryShown]:
        """Its deliveries, the oldest first."""
        page = await self.deliveries.page(endpoint.id, None, None, 10_000)
        return list(reversed(page.items))

    async def gets(self, path: str, count: int, within: float = PATIENCE_SECONDS) -> list[Received]:
        """What came to a path, once it is so much."""
        got = self.receiver.received[path]
        what = f"{count} requests come to {path}"
        await eventually(lambda: len(got) >= count, within=within, what=what)
        return got

    async def waits(self, endpoint: Endpoint, count: int) -> None:
        """Until so much waits for it."""

        async def so_much() -> bool:
            return (await self.shown(endpoint)).backlog == count

        await eventually(so_much, what=f"{count} deliveries wait")

    async def ends(self, endpoint: Endpoint, count: int, within: float = PATIENCE_SECONDS) -> None:
        """Wait until so many deliveries have ended."""

        async def enough() -> bool:
            log = await self.log(endpoint)
            ended = [one for one in log if one.ended_at]
            assert len(ended) >= count, [(d.status, d.attempts, d.error) for d in log]
            return True

        await eventually(enough, within=within, what=f"{count} deliveries have ended")


@asynccontextmanager
async def running_deliverer(settings: Settings) -> AsyncIterator[None]:
    """A delivering process's work in this one, during the block."""
    stop = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        group.create_task(run_deliverer(settings, KEYS.encryption, stop))
        try:
            yield
        finally:
            stop.set()


def _received(text: str) -> MessageReceived:
    return MessageReceived(
        id=MessageId(uuid4()),
        message_id="3A",
        chat="1@lid",
        sender="1@lid",
        sender_number=TO,
        type="text",
        text=text,
        received_at=datetime.now(UTC),
    )
