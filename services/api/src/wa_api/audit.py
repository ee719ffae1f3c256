"""The audit log: who changed sessions, tokens, API keys and webhooks, when and from where."""

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, NoReturn
from uuid import UUID

import asyncpg
import structlog

from wa_api.database.pool import Connection, Database, DatabaseUnavailable
from wa_api.http.models import View
from wa_api.http.paging import Page, Place, page_of
from wa_contracts.ids import new_id
from wa_contracts.wire import UtcDatetime
from wa_runtime.postgres import DATABASE_ERRORS

log = structlog.get_logger()

CLEAN_UP_SECONDS = 3600.0
BATCH = 1_000


class Action(StrEnum):
    """What was done. Orders to a session's host are noted when they are accepted."""

    SESSION_CREATE = "session.create"
    SESSION_UPDATE = "session.update"
    SESSION_PAIR = "session.pair"
    SESSION_RESTART = "session.restart"
    SESSION_STOP = "session.stop"
    SESSION_LOGOUT = "session.logout"
    SESSION_DELETE = "session.delete"
    TOKEN_ROTATE = "token.rotate"  # noqa: S105 - an action
    KEY_CREATE = "key.create"
    KEY_REVOKE = "key.revoke"
    WEBHOOK_CREATE = "webhook.create"
    WEBHOOK_UPDATE = "webhook.update"
    WEBHOOK_SECRET_ROTATE = "webhook.secret_rotate"  # noqa: S105 - an action
    WEBHOOK_DELETE = "webhook.delete"


class ActorKind(StrEnum):
    """How the one who changed something was known."""

    ADMIN_KEY = "admin_key"
    PAGE = "page"
    API_KEY = "api_key"


@dataclass(frozen=True)
class Actor:
    """Who changes something, and from which address. `key_id` is of an API key."""

    kind: ActorKind
    name: str
    address: str
    key_id: UUID | None = None


@dataclass(frozen=True)
class Change:
    """What is changed. `details` never contains a secret."""

    action: Action
    session_id: UUID | None = None
    subject_id: UUID | None = None
    subject_name: str | None = None
    details: Mapping[str, Any] = field(default_factory=dict)


class AuditEntry(View):
    """One change. `subject_id` and `subject_name` are of the API key or webhook; `key_id` and
    `actor_name` of the API key that changed it.
    """

    id: UUID
    occurred_at: UtcDatetime
    action: Action
    actor: ActorKind
    actor_name: str
    key_id: UUID | None
    address: str
    session_id: UUID | None
    subject_id: UUID | None
    subject_name: str | None
    details: dict[str, Any]


@dataclass(frozen=True)
class AuditFilter:
    """Entries to list. None matches any. `since` is included, `until` is not."""

    action: Action | None = None
    actor: ActorKind | None = None
    key_id: UUID | None = None
    session_id: UUID | None = None
    since: datetime | None = None
    until: datetime | None = None


class AuditLog:
    """The audit table."""

    def __init__(self, database: Database, *, keep: timedelta) -> None:
        """`keep` is how long an entry stays."""
        self._database = database
        self._keep = keep

    async def record(self, connection: Connection, actor: Actor, change: Change) -> None:
        """Note a change in the transaction that makes it."""
        await connection.execute(
            _INSERT,
            new_id(),
            change.action,
            actor.kind,
            actor.name,
            actor.key_id,
            actor.address,
            change.session_id,
            change.subject_id,
            change.subject_name,
            json.dumps(change.details),
        )

    async def page(self, wanted: AuditFilter, after: Place | None, limit: int) -> Page[AuditEntry]:
        """Entries, newest first.

        Raises:
            DatabaseUnavailable: The entries cannot be read.
        """
        async with self._database.connection() as connection:
            rows = await connection.fetch(
                _PAGE,
                after and after.created_at,
                after and after.id,
                limit + 1,
                wanted.action,
                wanted.actor,
                wanted.key_id,
                wanted.session_id,
                wanted.since,
                wanted.until,
            )
        return page_of(rows, limit, _entry, lambda one: Place(one.occurred_at, one.id))

    async def run(self) -> NoReturn:
        """Delete old entries every hour, until cancelled."""
        while True:
            try:
                await self.forget()
            except (DatabaseUnavailable, *DATABASE_ERRORS) as error:
                log.info("audit_not_cleaned_up", reason=type(error).__name__)
            await asyncio.sleep(CLEAN_UP_SECONDS)

    async def forget(self) -> int:
        """Delete the entries that are older than their time; return how many.

        Raises:
            DatabaseUnavailable: Some may be there still.
        """
        forgotten = 0
        while deleted := await self._forget_batch():
            forgotten += len(deleted)
        return forgotten

    async def _forget_batch(self) -> Sequence[asyncpg.Record]:
        async with self._database.connection() as connection:
            return await connection.fetch(_FORGET, self._keep, BATCH)


def _entry(row: asyncpg.Record) -> AuditEntry:
    return AuditEntry.model_validate({**row, "details": json.loads(row["details"])})


_INSERT = """
    INSERT INTO audit (id, action, actor, actor_name, key_id, address, session_id, subject_id,
        subject_name, details)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10::jsonb)
"""
_PAGE = """
    SELECT id, occurred_at, action, actor, actor_name, key_id, address, session_id, subject_id,
        subject_name, details
    FROM audit
    WHERE ($1::timestamptz IS NULL OR (occurred_at, id) < ($1, $2::uuid))
      AND ($4::text IS NULL OR action = $4) AND ($5::text IS NULL OR actor = $5)
      AND ($6::uuid IS NULL OR key_id = $6) AND ($7::uuid IS NULL OR session_id = $7)
      AND ($8::timestamptz IS NULL OR occurred_at >= $8)
      AND ($9::timestamptz IS NULL OR occurred_at < $9)
    ORDER BY occurred_at DESC, id DESC LIMIT $3
"""
_FORGET = """
    DELETE FROM audit WHERE id IN (
        SELECT id FROM audit WHERE occurred_at < now() - $1::interval
        ORDER BY occurred_at LIMIT $2)
    RETURNING id
"""
