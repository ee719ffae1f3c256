"""Webhook endpoints as managed by the operator."""

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from uuid import UUID

import asyncpg

from wa_api.access.secret_box import SecretBox
from wa_api.database.pool import Database
from wa_api.events.patterns import events_meant
from wa_api.http.models import View
from wa_api.http.paging import Page, Place, page_of
from wa_api.webhooks.delivering.leadership import notify_changed
from wa_api.webhooks.delivering.retry_rule import PauseReason
from wa_api.webhooks.delivering.signing import new_secret
from wa_contracts.ids import new_id


class EndpointStatus(StrEnum):
    """`paused`: deliveries wait, for `statusReason`. `ended`: the session was deleted."""

    ACTIVE = "active"
    PAUSED = "paused"
    ENDED = "ended"


class Endpoint(View):
    """A URL that receives events. `session_id` and `events` are None for all.

    With `include_media`, `message.received` has a link to its media.
    `backlog` is the number of waiting deliveries. Until `former_secret_until`, the secret before
    the last rotation signs too.
    """

    id: UUID
    url: str
    events: Sequence[str] | None
    session_id: UUID | None
    include_media: bool
    status: EndpointStatus
    status_reason: PauseReason | None
    paused_at: datetime | None
    failing_since: datetime | None
    last_error: str | None
    backlog: int
    former_secret_until: datetime | None
    created_at: datetime


class EndpointWithSecret(Endpoint):
    """An endpoint with its secret, which is shown only once."""

    secret: str


class NoSuchSession(Exception):
    """The session of a new endpoint does not exist."""


class Endpoints:
    """The endpoints table. Methods raise DatabaseUnavailable without having changed anything."""

    def __init__(self, database: Database, secrets: SecretBox, *, overlap: timedelta) -> None:
        """`overlap` is how long a former secret signs after a rotation."""
        self._database = database
        self._secrets = secrets
        self._overlap = overlap

    async def create(
        self,
        url: str,
        events: Sequence[str] | None,
        session_id: UUID | None,
        *,
        include_media: bool = False,
    ) -> EndpointWithSecret:
        """Create an endpoint. It receives events projected from now on.

        Raises:
            UnknownEvent: A pattern matches no event type.
            NoSuchSession: There is no session with this id.
        """
        types = sorted(events_meant(events)) if events is not None else None
        endpoint_id, secret = new_id(), new_secret()
        sealed = self._secrets.seal(endpoint_id, secret)
        async with self._database.transaction() as connection:
            if not await connection.fetchval(
                _CREATE, endpoint_id, url, session_id, events, types, sealed
            ):
                raise NoSuchSession
            await connection.execute(_INCLUDE_MEDIA, endpoint_id, include_media)
            await notify_changed(connection, endpoint_id)
            row = await connection.fetchrow(_ONE, endpoint_id)
        return EndpointWithSecret(**dict(_required(row)), secret=secret)

    async def page(
        self,
        after: Place | None,
        limit: int,
        *,
        for_session: UUID | None = None,
        among: Collection[UUID] | None = None,
    ) -> Page[Endpoint]:
        """Endpoints, newest first: all, or those that receive a session's events, or those of some
        sessions.
        """
        async with self._database.connection() as connection:
            rows = await connection.fetch(
                _PAGE,
                after and after.created_at,
                after and after.id,
                limit + 1,
                for_session,
                None if among is None else list(among),
            )
        return page_of(
            rows, limit, lambda row: Endpoint(**row), lambda one: Place(one.created_at, one.id)
        )

    async def one(self, endpoint_id: UUID) -> Endpoint | None:
        async with self._database.connection() as connection:
            row = await connection.fetchrow(_ONE, endpoint_id)
        return Endpoint(**dict(row)) if row else None

    async def redirect(self, endpoint_id: UUID, url: str) -> None:
        """Change the URL, for waiting deliveries too."""
        async with self._database.transaction() as connection:
            await connection.execute(_REDIRECT, endpoint_id, url)
            await notify_changed(connection, endpoint_id)

    async def choose(self, endpoint_id: UUID, events: Sequence[str] | None) -> None:
        """Change the events. Waiting deliveries stay.

        Raises:
            UnknownEvent: A pattern matches no event type.
        """
        types = sorted(events_meant(events)) if events is not None else None
        async with self._database.connection() as connection:
            await connection.execute(_CHOOSE, endpoint_id, events, types)

    async def include_media(self, endpoint_id: UUID, wanted: bool) -> None:
        """Whether bodies have a link to media, of waiting deliveries too."""
        async with self._database.transaction() as connection:
            await connection.execute(_INCLUDE_MEDIA, endpoint_id, wanted)
            await notify_changed(connection, endpoint_id)

    async def pause(self, endpoint_id: UUID) -> None:
        """Send nothing until `resume`; deliveries wait."""
        async with self._database.transaction() as connection:
            await connection.execute(_PAUSE, endpoint_id, PauseReason.OPERATOR)
            await notify_changed(connection, endpoint_id)

    async def resume(self, endpoint_id: UUID) -> None:
        """Send waiting deliveries at once. Their retry window starts again."""
        async with self._database.transaction() as connection:
            await connection.execute(_RESUME, endpoint_id)
            await connection.execute(_TRY_ANEW, endpoint_id)
            await notify_changed(connection, endpoint_id)

    async def rotate_secret(self, endpoint_id: UUID) -> EndpointWithSecret | None:
        """Replace the secret; the old one signs for `overlap`. None if no such endpoint."""
        secret = new_secret()
        sealed = self._secrets.seal(endpoint_id, secret)
        async with self._database.transaction() as connection:
            await connection.execute(_ROTATE, endpoint_id, sealed, self._overlap)
            await notify_changed(connection, endpoint_id)
            row = await connection.fetchrow(_ONE, endpoint_id)
        return EndpointWithSecret(**dict(row), secret=secret) if row else None

    async def delete(self, endpoint_id: UUID) -> bool:
        """Delete the endpoint and its deliveries. False if there is no such endpoint."""
        async with self._database.transaction() as connection:
            found = await connection.fetchval(_DELETE, endpoint_id)
            await notify_changed(connection, endpoint_id)
        return found is not None


def _required(row: asyncpg.Record | None) -> asyncpg.Record:
    assert row is not None
    return row


_CREATE = """
    INSERT INTO webhook_endpoints
        (id, url, session_id, events, types, secret_cipher, from_position)
    SELECT $1, $2, $3, $4, $5, $6, greatest(
        (SELECT coalesce(max(position), 0) FROM feed), (SELECT position FROM webhook_fan_out))
    WHERE $3::uuid IS NULL OR EXISTS (
        SELECT FROM credentials WHERE session_id = $3 AND revoked_at IS NULL)
    RETURNING true
"""
_SHOWN = """
    SELECT id, url, events, session_id, include_media,
        CASE WHEN paused_at IS NOT NULL THEN 'paused'
            WHEN session_deleted_at IS NOT NULL THEN 'ended' ELSE 'active' END AS status,
        paused_reason AS status_reason, paused_at, failing_since, last_error,
        CASE WHEN former_secret_until > now() THEN former_secret_until END AS former_secret_until,
        created_at,
        (SELECT count(*) FROM webhook_deliveries d
         WHERE d.endpoint_id = e.id AND d.status = 'waiting') AS backlog
    FROM webhook_endpoints e WHERE deleted_at IS NULL
"""
_ONE = f"{_SHOWN} AND id = $1"
_PAGE = f"""
    {_SHOWN} AND ($1::timestamptz IS NULL OR (created_at, id) < ($1, $2::uuid))
        AND ($4::uuid IS NULL OR session_id IS NULL OR session_id = $4)
        AND ($5::uuid[] IS NULL OR session_id = ANY($5))
    ORDER BY created_at DESC, id DESC LIMIT $3
"""
_REDIRECT = "UPDATE webhook_endpoints SET url = $2 WHERE id = $1"
_CHOOSE = "UPDATE webhook_endpoints SET events = $2, types = $3 WHERE id = $1"
_INCLUDE_MEDIA = "UPDATE webhook_endpoints SET include_media = $2 WHERE id = $1"
_PAUSE = """
    UPDATE webhook_endpoints SET paused_at = now(), paused_reason = $2
    WHERE id = $1 AND paused_at IS NULL
"""
_RESUME = """
    UPDATE webhook_endpoints SET paused_at = NULL, paused_reason = NULL, failing_since = NULL,
        last_error = NULL
    WHERE id = $1 AND paused_at IS NOT NULL
"""
_TRY_ANEW = """
    UPDATE webhook_deliveries SET first_tried_at = NULL, next_try_at = NULL
    WHERE endpoint_id = $1 AND status = 'waiting' AND first_tried_at IS NOT NULL
"""
_ROTATE = """
    UPDATE webhook_endpoints SET secret_cipher = $2, former_secret_cipher = secret_cipher,
        former_secret_until = now() + $3
    WHERE id = $1 AND deleted_at IS NULL
"""
_DELETE = """
    UPDATE webhook_endpoints SET deleted_at = now() WHERE id = $1 AND deleted_at IS NULL
    RETURNING true
"""
