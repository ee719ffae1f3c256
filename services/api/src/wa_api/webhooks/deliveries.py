"""Deliveries of an endpoint as shown to the operator: delivered, waiting and given up."""

from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from pydantic import ConfigDict

from wa_api.database.pool import Database
from wa_api.http.models import View
from wa_api.http.paging import Page, Place, page_of
from wa_api.webhooks.delivering.backlog import TEST
from wa_api.webhooks.delivering.leadership import notify_changed
from wa_api.webhooks.delivering.retry_rule import GivenUpReason
from wa_contracts.ids import new_id


class DeliveryStatus(StrEnum):
    """`waiting`: for earlier deliveries, for the next attempt, or for a paused endpoint."""

    WAITING = "waiting"
    DELIVERED = "delivered"
    GIVEN_UP = "given_up"


class DeliveryShown(View):
    """One event for one endpoint. `event_id` is the `webhook-id` header.

    `response_status`, `duration_ms` and `error` describe the last attempt.
    """

    model_config = ConfigDict(title="Delivery")

    id: UUID
    endpoint_id: UUID
    event_id: UUID
    type: str
    session_id: UUID | None
    status: DeliveryStatus
    reason: GivenUpReason | None
    attempts: int
    response_status: int | None
    duration_ms: int | None
    error: str | None
    created_at: datetime
    tried_at: datetime | None
    next_try_at: datetime | None
    ended_at: datetime | None


class EventForgotten(Exception):
    """The event to redeliver is older than the retention."""


class Deliveries:
    """The deliveries table. Methods raise DatabaseUnavailable without having changed anything."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def page(
        self, endpoint_id: UUID, status: DeliveryStatus | None, after: Place | None, limit: int
    ) -> Page[DeliveryShown]:
        """Deliveries of one endpoint, newest first."""
        async with self._database.connection() as connection:
            rows = await connection.fetch(
                _PAGE[status],
                endpoint_id,
                after and after.created_at,
                after and after.id,
                limit + 1,
            )
        return page_of(
            rows, limit, lambda row: DeliveryShown(**row), lambda one: Place(one.created_at, one.id)
        )

    async def latest_of_session(self, session_id: UUID, limit: int) -> Sequence[DeliveryShown]:
        """Deliveries of a session's events to any endpoint, newest first."""
        async with self._database.connection() as connection:
            rows = await connection.fetch(_LATEST, session_id, limit)
        return [DeliveryShown(**dict(row)) for row in rows]

    async def test(self, endpoint_id: UUID, session_id: UUID | None) -> DeliveryShown:
        """Create a `webhook.test` delivery: one attempt, even if the endpoint is paused."""
        async with self._database.transaction() as connection:
            row = await connection.fetchrow(
                _TEST, new_id(), endpoint_id, session_id, new_id(), TEST
            )
            await notify_changed(connection, endpoint_id)
        assert row is not None
        return DeliveryShown(**dict(row))

    async def redeliver(self, endpoint_id: UUID, delivery_id: UUID) -> DeliveryShown | None:
        """Send an ended delivery again, outside its session's order; a waiting one stays as it is.

        Returns None if there is no such delivery.

        Raises:
            EventForgotten: The event is older than the retention.
        """
        async with self._database.transaction() as connection:
            row = await connection.fetchrow(_FIND, delivery_id, endpoint_id)
            if row is None:
                return None
            if row["is_forgotten"]:
                raise EventForgotten
            await connection.execute(_AGAIN, delivery_id)
            await notify_changed(connection, endpoint_id)
            again = await connection.fetchrow(_ONE, delivery_id)
        assert again is not None
        return DeliveryShown(**dict(again))


_COLUMNS = ", ".join(DeliveryShown.model_fields)
_ONE = f"SELECT {_COLUMNS} FROM webhook_deliveries WHERE id = $1"


def _page(status: DeliveryStatus | None) -> str:
    """The status is part of the text, so that Postgres can use the partial index for it."""
    return f"""
        SELECT {_COLUMNS} FROM webhook_deliveries
        WHERE endpoint_id = $1 {f"AND status = '{status}'" if status else ""}
            AND ($2::timestamptz IS NULL OR (created_at, id) < ($2, $3::uuid))
        ORDER BY created_at DESC, id DESC LIMIT $4
    """


_PAGE = {status: _page(status) for status in (None, *DeliveryStatus)}
_LATEST = f"""
    SELECT {", ".join(f"d.{name}" for name in DeliveryShown.model_fields)}
    FROM webhook_deliveries d JOIN webhook_endpoints e ON e.id = d.endpoint_id
    WHERE d.session_id = $1 AND e.deleted_at IS NULL ORDER BY d.created_at DESC LIMIT $2
"""
_TEST = f"""
    INSERT INTO webhook_deliveries (id, endpoint_id, session_id, event_id, type, lane, status)
    VALUES ($1, $2, $3, $4, $5, $1, 'waiting') RETURNING {_COLUMNS}
"""
_FIND = """
    SELECT d.position IS NOT NULL AND f.position IS NULL AS is_forgotten
    FROM webhook_deliveries d LEFT JOIN feed f USING (position)
    WHERE d.id = $1 AND d.endpoint_id = $2
"""
_AGAIN = """
    UPDATE webhook_deliveries SET status = 'waiting', reason = NULL, lane = id, ended_at = NULL,
        first_tried_at = NULL, next_try_at = NULL
    WHERE id = $1 AND status <> 'waiting'
"""
