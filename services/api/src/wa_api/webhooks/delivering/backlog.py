"""Waiting deliveries, as the delivering process reads and settles them."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

import asyncpg
import structlog
from cryptography.exceptions import InvalidTag
from pydantic_core import to_json

from wa_api.access.secret_box import SecretBox
from wa_api.database.pool import Database
from wa_api.events.patterns import UnknownEvent, events_meant
from wa_api.webhooks.delivering.attempt import Attempt
from wa_api.webhooks.delivering.retry_rule import GivenUpReason, PauseReason

log = structlog.get_logger()

TEST = "webhook.test"


@dataclass(frozen=True)
class Target:
    """An endpoint as the delivering process sees it.

    The former secret also signs until `former_secret_until`. Without a readable secret, or with
    unreadable `headers`, nothing is sent.
    """

    id: UUID
    url: str
    secret: str | None
    former_secret: str | None
    former_secret_until: datetime | None
    failing_since: datetime | None
    is_paused: bool
    include_media: bool = False
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)

    @property
    def is_failing(self) -> bool:
        """True if the last attempt failed. A paused endpoint does not count."""
        return self.failing_since is not None and not self.is_paused

    def accepts(self, *, is_test: bool) -> bool:
        """True if a delivery may be sent now. A test is sent even if the endpoint is paused."""
        return self.secret is not None and (is_test or not self.is_paused)

    def secrets(self, now: datetime) -> Sequence[str]:
        """The signing secrets, the current one first."""
        still = self.former_secret_until is not None and now < self.former_secret_until
        return [s for s in (self.secret, self.former_secret if still else None) if s]


@dataclass(frozen=True)
class QueueBacklog:
    """One session's queue of an endpoint: its length, and when a retried delivery is due."""

    endpoint_id: UUID
    queue: UUID
    waiting: int
    next_try_at: datetime | None
    is_test: bool


@dataclass(frozen=True)
class Delivery:
    """A delivery to send. `body` is None if the event is older than the retention.

    `metadata` is the session's, as JSON in ASCII; None without any.
    """

    id: UUID
    event_id: UUID
    type: str
    body: str | None
    metadata: str | None
    first_tried_at: datetime | None

    @property
    def is_test(self) -> bool:
        """True for an operator's test: one attempt, even if the endpoint is paused."""
        return self.type == TEST


class Backlog:
    """The deliveries table for its only reader. Methods raise DatabaseUnavailable."""

    def __init__(self, database: Database, secrets: SecretBox) -> None:
        self._database = database
        self._secrets = secrets

    async def expand_patterns(self) -> None:
        """Expand the endpoints' patterns again: this version may know more event types."""
        async with self._database.transaction() as connection:
            for row in await connection.fetch(_PATTERNS):
                try:
                    types = sorted(events_meant(row["events"]))
                except UnknownEvent:  # the pattern was accepted by a newer version
                    continue
                await connection.execute(_SET_TYPES, row["id"], types)

    async def targets(self) -> Sequence[UUID]:
        async with self._database.connection() as connection:
            return [row["id"] for row in await connection.fetch(_ALL)]

    async def target(self, endpoint_id: UUID) -> Target | None:
        """Load an endpoint; None if deleted. Pauses an endpoint with an unreadable secret."""
        async with self._database.connection() as connection:
            row = await connection.fetchrow(_TARGET, endpoint_id)
        if row is None:
            return None
        secret = self._open(endpoint_id, row["secret_cipher"])
        headers = self._open(endpoint_id, row["headers_cipher"])
        if headers is None and row["headers_cipher"] is not None:
            secret = None  # nothing is sent without its headers
        if secret is None and row["paused_at"] is None:
            await self.pause(endpoint_id, PauseReason.SECRET_UNREADABLE)
        return Target(
            id=row["id"],
            url=row["url"],
            secret=secret,
            former_secret=self._open(endpoint_id, row["former_secret_cipher"]),
            former_secret_until=row["former_secret_until"],
            failing_since=row["failing_since"],
            is_paused=row["paused_at"] is not None or secret is None,
            include_media=row["include_media"],
            headers=json.loads(headers or "{}"),
        )

    def _open(self, endpoint_id: UUID, sealed: bytes | None) -> str | None:
        try:
            return self._secrets.open(endpoint_id, sealed) if sealed else None
        except InvalidTag:
            return None

    async def queues(self, endpoint_id: UUID | None = None) -> Sequence[QueueBacklog]:
        """Queues with waiting deliveries, of one endpoint or of all."""
        async with self._database.connection() as connection:
            rows = await connection.fetch(_QUEUES, endpoint_id)
        return [QueueBacklog(**dict(row)) for row in rows]

    async def next(self, endpoint_id: UUID, queue: UUID, limit: int) -> Sequence[Delivery]:
        """The first deliveries of a queue, in order."""
        async with self._database.connection() as connection:
            rows = await connection.fetch(_NEXT, endpoint_id, queue, limit)
        return [
            Delivery(
                id=row["id"],
                event_id=row["event_id"],
                type=row["type"],
                body=row["event"] if row["position"] is not None else _test_body(row),
                metadata=_in_ascii(row["metadata"]),
                first_tried_at=row["first_tried_at"],
            )
            for row in rows
        ]

    async def mark_delivered(self, delivery: Delivery, attempt: Attempt, now: datetime) -> None:
        async with self._database.connection() as connection:
            await connection.execute(
                _DELIVERED, delivery.id, now, attempt.status, _milliseconds(attempt)
            )

    async def mark_failed(
        self,
        delivery: Delivery,
        attempt: Attempt,
        now: datetime,
        *,
        next_try_at: datetime | None,
        given_up: GivenUpReason | None,
    ) -> None:
        """Record a failure. The delivery is retried at `next_try_at`, given up, or waits."""
        async with self._database.transaction() as connection:
            await connection.execute(
                _FAILED,
                delivery.id,
                now,
                attempt.status,
                _milliseconds(attempt),
                attempt.error,
                next_try_at,
                given_up,
            )
            await connection.execute(_FAILING, delivery.id, now, attempt.error)

    async def mark_expired(self, delivery: Delivery) -> None:
        async with self._database.connection() as connection:
            await connection.execute(_EXPIRED, delivery.id, GivenUpReason.EXPIRED)

    async def mark_recovered(self, endpoint_id: UUID) -> None:
        async with self._database.connection() as connection:
            await connection.execute(_RECOVERED, endpoint_id)

    async def pause(self, endpoint_id: UUID, reason: PauseReason) -> None:
        """Pause the endpoint until the operator resumes it. Its deliveries keep waiting."""
        async with self._database.connection() as connection:
            await connection.execute(_PAUSE, endpoint_id, reason)
        log.warning("webhook_paused", endpoint_id=str(endpoint_id), reason=reason)


def _in_ascii(metadata: str | None) -> str | None:
    """JSON that fits into a header; None for no or empty metadata."""
    read = json.loads(metadata or "{}")
    return json.dumps(read) if read else None


def _test_body(row: asyncpg.Record) -> str:
    """An envelope without data, the same for each attempt."""
    body = {
        "id": row["event_id"],
        "type": TEST,
        "version": 1,
        "sessionId": row["session_id"],
        "occurredAt": row["created_at"],
        "data": {},
    }
    return to_json(body).decode()


def _milliseconds(attempt: Attempt) -> int:
    return round(attempt.seconds * 1000)


_PATTERNS = "SELECT id, events FROM webhook_endpoints WHERE events IS NOT NULL"
_SET_TYPES = "UPDATE webhook_endpoints SET types = $2 WHERE id = $1 AND types IS DISTINCT FROM $2"
_ALL = "SELECT id FROM webhook_endpoints WHERE deleted_at IS NULL"
_TARGET = "SELECT * FROM webhook_endpoints WHERE id = $1 AND deleted_at IS NULL"
_QUEUES = """
    SELECT endpoint_id, lane AS queue, count(*) AS waiting, max(next_try_at) AS next_try_at,
        bool_and(position IS NULL) AS is_test
    FROM webhook_deliveries
    WHERE status = 'waiting' AND ($1::uuid IS NULL OR endpoint_id = $1) GROUP BY endpoint_id, lane
"""
_NEXT = """
    SELECT d.id, d.event_id, d.type, d.position, d.session_id, d.created_at, d.first_tried_at,
        f.event::text AS event, s.options ->> 'metadata' AS metadata
    FROM webhook_deliveries d LEFT JOIN feed f USING (position)
    LEFT JOIN sessions s ON s.session_id = d.session_id
    WHERE d.endpoint_id = $1 AND d.lane = $2 AND d.status = 'waiting'
    ORDER BY d.position LIMIT $3
"""
_DELIVERED = """
    UPDATE webhook_deliveries SET status = 'delivered', reason = NULL, attempts = attempts + 1,
        tried_at = $2, next_try_at = NULL, response_status = $3, duration_ms = $4, error = NULL,
        ended_at = $2
    WHERE id = $1 AND status = 'waiting'
"""
_FAILED = """
    UPDATE webhook_deliveries SET status = CASE WHEN $7::text IS NULL THEN status ELSE 'given_up' END,
        reason = $7, attempts = attempts + 1, first_tried_at = coalesce(first_tried_at, $2),
        tried_at = $2, next_try_at = $6, response_status = $3, duration_ms = $4, error = $5,
        ended_at = CASE WHEN $7 IS NULL THEN NULL ELSE $2 END
    WHERE id = $1 AND status = 'waiting'
"""
_FAILING = """
    UPDATE webhook_endpoints SET failing_since = coalesce(failing_since, $2), last_error = $3
    WHERE id = (SELECT endpoint_id FROM webhook_deliveries WHERE id = $1)
"""
_EXPIRED = """
    UPDATE webhook_deliveries SET status = 'given_up', reason = $2, next_try_at = NULL,
        ended_at = now()
    WHERE id = $1 AND status = 'waiting'
"""
_RECOVERED = """
    UPDATE webhook_endpoints SET failing_since = NULL, last_error = NULL WHERE id = $1
"""
_PAUSE = """
    UPDATE webhook_endpoints SET paused_at = now(), paused_reason = $2
    WHERE id = $1 AND paused_at IS NULL
"""
