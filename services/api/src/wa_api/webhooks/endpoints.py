"""Webhook endpoints as managed by the operator."""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from urllib.parse import urlsplit
from uuid import UUID

import asyncpg
from pydantic.alias_generators import to_camel

from wa_api.access.secret_box import SecretBox
from wa_api.audit import Action, Actor, AuditLog, Change
from wa_api.database.pool import Connection, Database
from wa_api.events.patterns import events_meant
from wa_api.http.models import View
from wa_api.http.paging import Page, Place, page_of
from wa_api.webhooks.delivering.leadership import notify_changed
from wa_api.webhooks.delivering.retry_rule import PauseReason
from wa_api.webhooks.delivering.signing import new_secret
from wa_api.webhooks.headers import names_of
from wa_contracts.ids import new_id


class EndpointStatus(StrEnum):
    """`paused`: deliveries wait, for `statusReason`. `ended`: the session was deleted."""

    ACTIVE = "active"
    PAUSED = "paused"
    ENDED = "ended"


class Endpoint(View):
    """A URL that receives events. `session_id` and `events` are None for all.

    With `include_media`, `message.received` has a link to its media. `header_names` are of the
    user's own headers, whose values are not shown. `backlog` is the number of waiting deliveries.
    Until `former_secret_until`, the secret before the last rotation signs too.
    """

    id: UUID
    url: str
    events: Sequence[str] | None
    session_id: UUID | None
    include_media: bool
    header_names: Sequence[str]
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


@dataclass(frozen=True)
class EndpointChange:
    """What to change; fields that are not in `named` stay."""

    named: frozenset[str]
    url: str | None = None
    events: Sequence[str] | None = None
    paused: bool | None = None
    headers: Mapping[str, str] | None = None
    include_media: bool | None = None


class Endpoints:
    """The endpoints table. Methods raise DatabaseUnavailable without having changed anything."""

    def __init__(
        self, database: Database, secrets: SecretBox, audit: AuditLog, *, overlap: timedelta
    ) -> None:
        """`overlap` is how long a former secret signs after a rotation."""
        self._database = database
        self._audit = audit
        self._secrets = secrets
        self._overlap = overlap

    async def create(
        self,
        actor: Actor,
        url: str,
        events: Sequence[str] | None,
        session_id: UUID | None,
        headers: Mapping[str, str] | None = None,
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
            await self._set_headers(connection, endpoint_id, headers)
            await self._note(connection, actor, Action.WEBHOOK_CREATE, endpoint_id, events=events)
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

    async def change(self, actor: Actor, endpoint_id: UUID, change: EndpointChange) -> None:
        """Change what is named, all at once. Waiting deliveries stay, and use a new URL.

        Paused, an endpoint gets nothing until it is resumed: deliveries wait. Resumed, it gets them
        at once, with a new retry window.

        Raises:
            UnknownEvent: A pattern matches no event type.
        """
        async with self._database.transaction() as connection:
            if change.url is not None:
                await connection.execute(_REDIRECT, endpoint_id, change.url)
            if "events" in change.named:
                events = change.events
                types = sorted(events_meant(events)) if events is not None else None
                await connection.execute(_CHOOSE, endpoint_id, events, types)
            if change.paused is not None:
                await _set_paused(connection, endpoint_id, paused=change.paused)
            if change.include_media is not None:
                await connection.execute(_INCLUDE_MEDIA, endpoint_id, change.include_media)
            if "headers" in change.named:
                await self._set_headers(connection, endpoint_id, change.headers)
            named = sorted(map(to_camel, change.named))
            await self._note(connection, actor, Action.WEBHOOK_UPDATE, endpoint_id, changed=named)

    async def rotate_secret(self, actor: Actor, endpoint_id: UUID) -> EndpointWithSecret | None:
        """Replace the secret; the old one signs for `overlap`. None if no such endpoint."""
        secret = new_secret()
        sealed = self._secrets.seal(endpoint_id, secret)
        async with self._database.transaction() as connection:
            await connection.execute(_ROTATE, endpoint_id, sealed, self._overlap)
            await self._note(connection, actor, Action.WEBHOOK_SECRET_ROTATE, endpoint_id)
            row = await connection.fetchrow(_ONE, endpoint_id)
        return EndpointWithSecret(**dict(row), secret=secret) if row else None

    async def delete(self, actor: Actor, endpoint_id: UUID) -> bool:
        """Delete the endpoint and its deliveries. False if there is no such endpoint."""
        async with self._database.transaction() as connection:
            await self._note(connection, actor, Action.WEBHOOK_DELETE, endpoint_id)
            found = await connection.fetchval(_DELETE, endpoint_id)
        return found is not None

    async def _set_headers(
        self, connection: Connection, endpoint_id: UUID, headers: Mapping[str, str] | None
    ) -> None:
        sealed = self._secrets.seal(endpoint_id, json.dumps(headers)) if headers else None
        await connection.execute(_SET_HEADERS, endpoint_id, sealed, names_of(headers))

    async def _note(
        self,
        connection: Connection,
        actor: Actor,
        action: Action,
        endpoint_id: UUID,
        **details: object,
    ) -> None:
        """Note a change in the audit log, and tell the process that delivers."""
        await notify_changed(connection, endpoint_id)
        row = await connection.fetchrow(_ONE, endpoint_id)
        if row is None:
            return
        name = urlsplit(row["url"]).hostname  # the rest of an address may be secret
        change = Change(action, row["session_id"], endpoint_id, name, details)
        await self._audit.record(connection, actor, change)


async def _set_paused(connection: Connection, endpoint_id: UUID, *, paused: bool) -> None:
    if paused:
        await connection.execute(_PAUSE, endpoint_id, PauseReason.OPERATOR)
        return
    await connection.execute(_RESUME, endpoint_id)
    await connection.execute(_TRY_ANEW, endpoint_id)


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
    SELECT id, url, events, session_id, include_media, header_names,
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
_SET_HEADERS = """
    UPDATE webhook_endpoints SET headers_cipher = $2, header_names = $3 WHERE id = $1
"""
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
