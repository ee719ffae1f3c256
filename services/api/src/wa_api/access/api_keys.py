"""API keys: created once, stored as a hash, looked up by it, revoked."""

import hashlib
import secrets
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import asyncpg
from pydantic import SecretStr

from wa_api.access.scopes import Scope
from wa_api.access.shared_lookups import SharedLookups
from wa_api.database.notifications import notify_access_changed
from wa_api.database.pool import Connection, Database
from wa_api.http.models import View
from wa_api.http.paging import Page, Place, page_of
from wa_contracts.ids import new_id
from wa_contracts.wire import UtcDatetime

PREFIX = "wamk_"
"""Prefix for secret scanners: API keys match `wamk_[A-Za-z0-9_-]{43}`."""


@dataclass(frozen=True)
class Rights:
    """What a key may do, and with which sessions: None for all. None in `expires_at`: for ever."""

    scopes: frozenset[Scope]
    sessions: frozenset[UUID] | None
    expires_at: datetime | None = None

    def covers(self, other: "Rights") -> bool:
        """True if the other rights are no more than these, nor last longer."""
        return (
            other.scopes <= self.scopes
            and (self.sessions is None or _within(other.sessions, self.sessions))
            and (
                self.expires_at is None
                or (other.expires_at is not None and other.expires_at <= self.expires_at)
            )
        )


def _within(sessions: frozenset[UUID] | None, allowed: frozenset[UUID]) -> bool:
    return sessions is not None and sessions <= allowed


@dataclass(frozen=True)
class KeyHolder:
    """A valid key."""

    id: UUID
    name: str
    rights: Rights


class ApiKey(View):
    """An API key. `session_ids` is None for all sessions, `last_used_at` exact to a minute."""

    id: UUID
    name: str
    scopes: Sequence[Scope]
    session_ids: Sequence[UUID] | None
    created_at: UtcDatetime
    created_by: str
    expires_at: UtcDatetime | None
    last_used_at: UtcDatetime | None

    @property
    def rights(self) -> Rights:
        sessions = None if self.session_ids is None else frozenset(self.session_ids)
        return Rights(frozenset(self.scopes), sessions, self.expires_at)


class NewApiKey(ApiKey):
    """A new API key. `key` is shown only once."""

    key: str


class ApiKeys:
    """The table of API keys. Methods raise DatabaseUnavailable."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._look_ups = database.in_turn()
        self._holders = SharedLookups(self._look_up)

    async def create(
        self, connection: Connection, name: str, rights: Rights, *, created_by: str
    ) -> NewApiKey:
        """Create a key in the caller's transaction."""
        key = SecretStr(PREFIX + secrets.token_urlsafe(32))
        row = await connection.fetchrow(
            _INSERT,
            new_id(),
            name,
            _hash(key.get_secret_value()),
            [scope for scope in Scope if scope in rights.scopes],
            None if rights.sessions is None else sorted(rights.sessions),
            created_by,
            rights.expires_at,
        )
        assert row is not None
        return NewApiKey(**dict(row), key=key.get_secret_value())

    async def page(self, after: Place | None, limit: int, *, within: Rights | None) -> Page[ApiKey]:
        """Keys, newest first: all, or those with no more rights than `within`."""
        async with self._database.connection() as connection:
            rows = await connection.fetch(
                _PAGE,
                after and after.created_at,
                after and after.id,
                limit + 1,
                None if within is None else list(within.scopes),
                None if within is None or within.sessions is None else list(within.sessions),
                None if within is None else within.expires_at,
            )
        return page_of(rows, limit, _api_key, lambda one: Place(one.created_at, one.id))

    async def revoke(
        self, connection: Connection, key_id: UUID, *, within: Rights | None
    ) -> ApiKey | None:
        """Delete a key in the caller's transaction; the key as it was.

        None if there is no such key, or it has more rights than `within`.
        """
        row = await connection.fetchrow(_LOCKED, key_id)
        if row is None or not (within is None or within.covers(_api_key(row).rights)):
            return None
        await connection.execute(_DELETE, key_id)
        await notify_access_changed(connection)
        return _api_key(row)

    async def holder(self, key: str) -> KeyHolder | None:
        """The holder of a key; None if the key is unknown, expired or revoked.

        Notes the use, at most once a minute.
        """
        return await self._holders.find(_hash(key))

    async def _look_up(self, key_hashes: Collection[bytes]) -> Mapping[bytes, KeyHolder]:
        rows = await self._look_ups.fetch(_HOLDERS, list(key_hashes))
        return {
            row["key_hash"]: KeyHolder(row["id"], row["name"], _api_key(row).rights) for row in rows
        }


def _api_key(row: asyncpg.Record) -> ApiKey:
    return ApiKey.model_validate(dict(row))


def _hash(key: str) -> bytes:
    return hashlib.sha256(key.encode()).digest()


_COLUMNS = "id, name, scopes, session_ids, created_at, created_by, expires_at, last_used_at"
_INSERT = f"""
    INSERT INTO api_keys (id, name, key_hash, scopes, session_ids, created_by, expires_at)
    VALUES ($1, $2, $3, $4, $5, $6, $7) RETURNING {_COLUMNS}
"""
_PAGE = f"""
    SELECT {_COLUMNS} FROM api_keys
    WHERE ($1::timestamptz IS NULL OR (created_at, id) < ($1, $2::uuid))
      AND ($4::text[] IS NULL OR scopes <@ $4)
      AND ($5::uuid[] IS NULL OR session_ids <@ $5)
      AND ($6::timestamptz IS NULL OR expires_at <= $6)
    ORDER BY created_at DESC, id DESC LIMIT $3
"""
_LOCKED = f"SELECT {_COLUMNS} FROM api_keys WHERE id = $1 FOR UPDATE"
_DELETE = "DELETE FROM api_keys WHERE id = $1"
# A row that is being revoked is not waited for: the note of its use is left out.
_HOLDERS = f"""
    WITH found AS (
        SELECT key_hash, {_COLUMNS} FROM api_keys
        WHERE key_hash = ANY($1::bytea[]) AND (expires_at IS NULL OR expires_at > now())),
    used AS (
        UPDATE api_keys SET last_used_at = now() WHERE id IN (
            SELECT id FROM api_keys
            WHERE id IN (SELECT id FROM found)
              AND (last_used_at IS NULL OR last_used_at < now() - interval '1 minute')
            FOR UPDATE SKIP LOCKED))
    SELECT * FROM found
"""
