"""Uploads: the table, the files in the media store, quota and expiry."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NoReturn
from uuid import UUID, uuid5

import asyncpg
import structlog

from wa_api.access.concurrency import Concurrency, TooMany
from wa_api.database.pool import Connection, Database, DatabaseUnavailable
from wa_api.http.models import View
from wa_api.http.problems import Problem
from wa_contracts.ids import new_id
from wa_contracts.internal.content import StoredMedia
from wa_runtime.media_store.store import MediaStore, StoreUnavailable
from wa_runtime.postgres import DATABASE_ERRORS

log = structlog.get_logger()

UPLOADS_AT_ONCE = 8
"""Per process: each has a few MiB of a file in memory."""
UPLOADS_OF_A_SESSION = 4
UNFINISHED = timedelta(hours=1)
"""After that an upload without its end is deleted: its process was killed."""
CLEAN_UP_SECONDS = 60.0
BATCH = 100


class Upload(View):
    """A file to send by its id."""

    media_id: UUID
    mime_type: str
    size: int
    sha256: str
    expires_at: datetime


@dataclass(frozen=True)
class IncomingFile:
    """A file that arrives. `size` is what its sender announced, if anything."""

    chunks: AsyncIterator[bytes]
    mime_type: str
    file_name: str | None = None
    size: int | None = None


@dataclass(frozen=True)
class Limits:
    """Bytes of one file, bytes of a session's files, and how long a file is kept."""

    file_bytes: int
    session_bytes: int
    keep: timedelta


class Uploads:
    """Uploaded files of all sessions."""

    def __init__(self, database: Database, store: MediaStore, limits: Limits) -> None:
        self._database = database
        self._store = store
        self._limits = limits
        self._of_all = Concurrency(UPLOADS_AT_ONCE)
        self._of_session = Concurrency(UPLOADS_OF_A_SESSION)

    async def receive(self, session_id: UUID, file: IncomingFile) -> Upload:
        """Store a file while it arrives; never the whole file in memory.

        Raises:
            Problem: 400 for an empty file; 413; 429 over the quota or for too many at once; 503
                for too many of all sessions. Nothing is left.
            StoreUnavailable, DatabaseUnavailable: nothing is left.
        """
        return await self._receive(session_id, UUID(str(new_id())), file)

    async def receive_inline(self, session_id: UUID, data: bytes, mime_type: str) -> Upload:
        """Store a file that came within a request. The same file again is the same upload.

        Raises:
            Problem, StoreUnavailable, DatabaseUnavailable: see `receive`.
        """
        media_id = uuid5(session_id, hashlib.sha256(data).hexdigest())
        async with self._database.connection() as connection:
            row = await connection.fetchrow(_PROLONGED, media_id, session_id, self._limits.keep)
        if row is not None:
            return _upload(row)
        file = IncomingFile(_once(data), mime_type, size=len(data))
        return await self._receive(session_id, media_id, file)

    async def _receive(self, session_id: UUID, media_id: UUID, file: IncomingFile) -> Upload:
        try:
            with self._of_session.held(session_id), self._hold_one_of_all():
                return await self._store_file(session_id, media_id, file)
        except TooMany as error:
            raise Problem(
                "too_many_uploads",
                f"This session has {UPLOADS_OF_A_SESSION} uploads at once already.",
            ) from error

    @contextmanager
    def _hold_one_of_all(self) -> Iterator[None]:
        """One upload of all; too many are 503."""
        try:
            with self._of_all.held(None):
                yield
        except TooMany as error:
            raise Problem(
                "uploads_busy", f"{UPLOADS_AT_ONCE} uploads are under way. Try again soon."
            ) from error

    async def _store_file(self, session_id: UUID, media_id: UUID, file: IncomingFile) -> Upload:
        if file.size is not None and file.size > self._limits.file_bytes:
            raise _too_large(self._limits.file_bytes)
        async with self._database.transaction() as connection:
            await self._check_quota(connection, session_id, file.size or 0)
            await connection.execute(
                _BEGUN, media_id, session_id, file.mime_type, file.file_name, file.size or 0,
                UNFINISHED,
            )  # fmt: skip
        counted = _Counted(file.chunks, self._limits.file_bytes)
        key = key_of(session_id, media_id)
        try:
            await self._store.write(key, counted.chunks())
            async with self._database.transaction() as connection:
                more = counted.size - (file.size or 0)
                await self._check_quota(connection, session_id, max(more, 0))
                row = await connection.fetchrow(
                    _COMPLETED, media_id, counted.size, counted.sha256, self._limits.keep
                )
        except BaseException:
            await self._take_back(session_id, media_id)
            raise
        if row is None:  # its session was deleted meanwhile
            raise Problem("media_not_found", "The upload was deleted while it arrived.")
        return _upload(row)

    async def _check_quota(self, connection: Connection, session_id: UUID, more: int) -> None:
        """One at a time for each session, until the transaction ends."""
        used = await connection.fetchval(_USED, session_id)
        if used + more > self._limits.session_bytes:
            raise Problem(
                "media_quota_exceeded",
                f"The session's uploads would have more than {self._limits.session_bytes} bytes "
                "(SESSION_MEDIA_QUOTA_BYTES). Delete some, or wait until some expire.",
            )

    async def _take_back(self, session_id: UUID, media_id: UUID) -> None:
        """Delete what there is of an upload. What cannot be deleted now expires."""
        try:
            async with self._database.connection() as connection:
                if not await connection.fetchval(_IS_UNFINISHED, media_id):
                    return  # the same file came twice at once, and the other one is complete
            await self._store.delete(key_of(session_id, media_id))
            async with self._database.connection() as connection:
                await connection.execute(_DELETED, media_id)
        except (StoreUnavailable, DatabaseUnavailable) as error:
            log.info("upload_not_taken_back", reason=type(error).__name__)

    async def found(
        self, sessions: Collection[UUID] | None, media_id: UUID
    ) -> tuple[Upload, StoredMedia]:
        """A complete upload of these sessions (of any for None), and its place.

        Raises:
            Problem: 404.
            DatabaseUnavailable: it cannot be looked up.
        """
        async with self._database.connection() as connection:
            row = await connection.fetchrow(
                _FOUND, media_id, None if sessions is None else list(sessions)
            )
        if row is None:
            raise Problem("media_not_found", "There is no such upload, or it has expired.")
        key = key_of(row["session_id"], media_id)
        return _upload(row), StoredMedia(
            key=key, file_name=row["file_name"], mime_type=row["mime_type"]
        )

    def read(self, media: StoredMedia) -> AsyncIterator[bytes]:
        """The file. Raises NotStored, StoreUnavailable."""
        return self._store.read(media.key)

    async def delete(self, sessions: Collection[UUID] | None, media_id: UUID) -> None:
        """Delete an upload. Messages that are to send it and did not yet fail.

        Raises:
            Problem: 404.
            StoreUnavailable, DatabaseUnavailable: it is there still.
        """
        _, stored = await self.found(sessions, media_id)
        await self._store.delete(stored.key)
        async with self._database.connection() as connection:
            await connection.execute(_DELETED, media_id)

    async def run(self) -> NoReturn:
        """Delete expired uploads every 60 s, until cancelled."""
        while True:
            try:
                await self.clean_up()
            except (StoreUnavailable, DatabaseUnavailable, *DATABASE_ERRORS) as error:
                log.info("expired_uploads_not_deleted", reason=type(error).__name__)
            await asyncio.sleep(CLEAN_UP_SECONDS)

    async def clean_up(self) -> None:
        """Delete expired uploads, unfinished ones, and those of deleted sessions.

        Raises:
            StoreUnavailable, DatabaseUnavailable: some may be there still.
        """
        while True:
            async with self._database.connection() as connection:
                rows = await connection.fetch(_EXPIRED, BATCH)
            for row in rows:
                await self._store.delete(key_of(row["session_id"], row["id"]))
                async with self._database.connection() as connection:
                    await connection.execute(_DELETED, row["id"])
            if rows:
                log.info("expired_uploads_deleted", number=len(rows))
            if len(rows) < BATCH:
                return


class _Counted:
    """Counts and hashes a file while it passes."""

    def __init__(self, chunks: AsyncIterator[bytes], limit: int) -> None:
        self._chunks = chunks
        self._limit = limit
        self._hash = hashlib.sha256()
        self.size = 0

    async def chunks(self) -> AsyncIterator[bytes]:
        """The file's pieces. Raises Problem: 413; 400 for an empty file."""
        async for chunk in self._chunks:
            self.size += len(chunk)
            if self.size > self._limit:
                raise _too_large(self._limit)
            self._hash.update(chunk)
            yield chunk
        if self.size == 0:
            raise Problem("invalid_request", "The file is empty.")

    @property
    def sha256(self) -> str:
        return self._hash.hexdigest()


def key_of(session_id: UUID, media_id: UUID) -> str:
    """The place of an upload in the media store."""
    return f"{session_id}/{media_id}"


def _upload(row: asyncpg.Record) -> Upload:
    return Upload(
        media_id=row["id"],
        mime_type=row["mime_type"],
        size=row["size"],
        sha256=row["sha256"],
        expires_at=row["expires_at"],
    )


def _too_large(limit: int) -> Problem:
    return Problem("media_too_large", f"The file has more than {limit} bytes (MEDIA_MAX_BYTES).")


async def _once(data: bytes) -> AsyncIterator[bytes]:
    yield data


_BEGUN = """
    INSERT INTO media (id, session_id, mime_type, file_name, size, expires_at)
    VALUES ($1, $2, $3, $4, $5, now() + $6)
    ON CONFLICT (id) DO UPDATE SET size = excluded.size, expires_at = excluded.expires_at
"""
_USED = """
    SELECT coalesce(sum(size), 0)::bigint FROM media, (
        SELECT pg_advisory_xact_lock(hashtext('uploads'), hashtext($1::uuid::text))) AS locked
    WHERE session_id = $1
"""
_COMPLETED = """
    UPDATE media SET size = $2, sha256 = $3, expires_at = now() + $4 WHERE id = $1 RETURNING *
"""
_PROLONGED = """
    UPDATE media SET expires_at = now() + $3
    WHERE id = $1 AND session_id = $2 AND sha256 IS NOT NULL AND expires_at > now() RETURNING *
"""
_FOUND = """
    SELECT * FROM media
    WHERE id = $1 AND ($2::uuid[] IS NULL OR session_id = ANY($2))
      AND sha256 IS NOT NULL AND expires_at > now()
"""
_IS_UNFINISHED = "SELECT true FROM media WHERE id = $1 AND sha256 IS NULL"
_DELETED = "DELETE FROM media WHERE id = $1"
_EXPIRED = """
    SELECT id, session_id FROM media
    WHERE expires_at < now() OR session_id IN (
        SELECT session_id FROM credentials WHERE revoked_at < now() - interval '1 hour')
    ORDER BY expires_at LIMIT $1
"""
