"""Session tokens: checked by hash, shown from an encrypted copy, rotated and revoked."""

import hashlib
import secrets
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from uuid import UUID

import asyncpg
from pydantic import SecretStr

from wa_api.access.secret_box import SecretBox
from wa_api.access.shared_lookups import SharedLookups
from wa_api.database.notifications import notify_access_changed
from wa_api.database.pool import Connection, Database
from wa_contracts.ids import SessionId

PREFIX = "wams_"
"""Prefix for secret scanners: tokens match `wams_[A-Za-z0-9_-]{43}`."""


@dataclass(frozen=True)
class TokenHolder:
    """The session of a token, with the state that a send checks.

    `status` is None until the session's first event is projected.
    """

    session_id: SessionId
    status: str | None
    queued: int


class Credentials:
    """The credentials table."""

    def __init__(self, database: Database, secrets: SecretBox) -> None:
        """`secrets` seals the copies from which tokens are shown."""
        self._database = database
        self._secrets = secrets
        self._look_ups = database.in_turn()
        self._holders = SharedLookups(self._look_up)

    async def issue(self, connection: Connection, session_id: SessionId) -> SecretStr:
        """Create the first token of a new session, in the caller's transaction."""
        token = _new_token()
        await connection.execute(
            _INSERT, session_id, _hash(token), self._secrets.seal(session_id, token)
        )
        return SecretStr(token)

    async def rotate(self, connection: Connection, session_id: SessionId) -> SecretStr | None:
        """Replace the token in the caller's transaction; None if there is no such session."""
        token = _new_token()
        found = await connection.fetchval(
            _ROTATE, session_id, _hash(token), self._secrets.seal(session_id, token)
        )
        await notify_access_changed(connection)
        return SecretStr(token) if found else None

    async def show(self, session_id: SessionId) -> SecretStr | None:
        """The current token; None if there is no such session.

        Raises:
            DatabaseUnavailable: The token cannot be read.
            cryptography.exceptions.InvalidTag: The copy was sealed with another
                TOKEN_ENCRYPTION_KEY.
        """
        async with self._database.connection() as connection:
            cipher = await connection.fetchval(_CIPHER, session_id)
        return SecretStr(self._secrets.open(session_id, cipher)) if cipher else None

    async def revoke(self, connection: Connection, session_id: SessionId) -> bool:
        """Revoke the token in the caller's transaction. False if there is no such session."""
        found = await connection.fetchval(_REVOKE, session_id) is not None
        await notify_access_changed(connection)
        return found

    async def of_session(self, session_id: UUID) -> TokenHolder | None:
        """What its token would name; None if there is no such session.

        Raises:
            DatabaseUnavailable: The session cannot be looked up.
        """
        async with self._database.connection() as connection:
            row = await connection.fetchrow(_OF_SESSION, session_id)
        return None if row is None else _holder(row)

    async def holder(self, token: str) -> TokenHolder | None:
        """The session of a token; None if the token is unknown or revoked.

        Raises:
            DatabaseUnavailable: The token cannot be checked.
        """
        if not token.startswith(PREFIX):
            return None
        return await self._holders.find(_hash(token))

    async def _look_up(self, token_hashes: Collection[bytes]) -> Mapping[bytes, TokenHolder]:
        rows = await self._look_ups.fetch(_HOLDERS, list(token_hashes))
        return {row["token_hash"]: _holder(row) for row in rows}


def _holder(row: asyncpg.Record) -> TokenHolder:
    return TokenHolder(SessionId(row["session_id"]), row["status"], row["queued"] or 0)


def _new_token() -> str:
    return PREFIX + secrets.token_urlsafe(32)


def _hash(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()


_INSERT = "INSERT INTO credentials (session_id, token_hash, token_cipher) VALUES ($1, $2, $3)"
_ROTATE = """
    UPDATE credentials SET token_hash = $2, token_cipher = $3, rotated_at = now()
    WHERE session_id = $1 AND revoked_at IS NULL RETURNING true
"""
_CIPHER = "SELECT token_cipher FROM credentials WHERE session_id = $1 AND revoked_at IS NULL"
_REVOKE = """
    UPDATE credentials SET revoked_at = coalesce(revoked_at, now())
    WHERE session_id = $1 RETURNING true
"""
_VALID = """
    SELECT c.token_hash, c.session_id, s.status, s.queued
    FROM credentials c LEFT JOIN sessions s USING (session_id) WHERE c.revoked_at IS NULL
"""
_HOLDERS = f"{_VALID} AND c.token_hash = ANY($1::bytea[])"
_OF_SESSION = f"{_VALID} AND c.session_id = $1"
