"""Reseals everything sealed with TOKEN_ENCRYPTION_KEY under a new key, while processes run."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from uuid import UUID

import structlog
from cryptography.exceptions import InvalidTag

from wa_api.access.secret_box import SecretBox
from wa_api.database.pool import Database, DatabaseUnavailable
from wa_api.refusal import Refusal
from wa_runtime.retries import until_available

log = structlog.get_logger()

BATCH = 500
PATIENCE_SECONDS = 10.0
"""For each batch, while the database is unavailable."""


class CannotRotate(Refusal):
    """The keys are unusable, or the database stayed away. Committed batches remain."""


@dataclass(frozen=True)
class SealedColumn:
    """A column of sealed secrets, with the statements that walk it.

    `rows`: last id, limit → `id` and `sealed` in id order. `put`: id, old sealed value, new one; no effect if the value changed meanwhile.
    """

    name: str
    rows: str
    put: str


TOKENS = SealedColumn(
    name="session tokens",
    rows="""
        SELECT session_id AS id, token_cipher AS sealed FROM credentials
        WHERE $1::uuid IS NULL OR session_id > $1 ORDER BY session_id LIMIT $2
    """,
    put="UPDATE credentials SET token_cipher = $3 WHERE session_id = $1 AND token_cipher = $2",
)
WEBHOOK_SECRETS = SealedColumn(
    name="webhook secrets",
    rows="""
        SELECT id, secret_cipher AS sealed FROM webhook_endpoints
        WHERE $1::uuid IS NULL OR id > $1 ORDER BY id LIMIT $2
    """,
    put="UPDATE webhook_endpoints SET secret_cipher = $3 WHERE id = $1 AND secret_cipher = $2",
)
FORMER_WEBHOOK_SECRETS = SealedColumn(
    name="former webhook secrets",
    rows="""
        SELECT id, former_secret_cipher AS sealed FROM webhook_endpoints
        WHERE ($1::uuid IS NULL OR id > $1) AND former_secret_cipher IS NOT NULL
        ORDER BY id LIMIT $2
    """,
    put="""
        UPDATE webhook_endpoints SET former_secret_cipher = $3
        WHERE id = $1 AND former_secret_cipher = $2
    """,
)
WEBHOOK_HEADERS = SealedColumn(
    name="webhook headers",
    rows="""
        SELECT id, headers_cipher AS sealed FROM webhook_endpoints
        WHERE ($1::uuid IS NULL OR id > $1) AND headers_cipher IS NOT NULL ORDER BY id LIMIT $2
    """,
    put="UPDATE webhook_endpoints SET headers_cipher = $3 WHERE id = $1 AND headers_cipher = $2",
)


@dataclass(frozen=True)
class Rotated:
    """Number of values that were resealed, already resealed, or unreadable with both keys."""

    anew: int
    already: int
    unreadable: int


class KeyRotation:
    """Reseals columns in batches, one transaction each.

    Can be interrupted and repeated: values under the current key are skipped.
    """

    def __init__(self, database: Database, *, batch: int = BATCH) -> None:
        """`batch` is the number of rows per transaction."""
        self._database = database
        self._batch = batch

    async def rotate(self, column: SealedColumn, secrets: SecretBox) -> Rotated:
        """Reseal a column. `secrets` knows the current key and the former one.

        Raises:
            CannotRotate: The database stayed away; run again later.
        """
        total, after = Rotated(0, 0, 0), None
        while True:
            found, done = await self._rotate_with_retries(column, secrets, after)
            total = Rotated(
                total.anew + done.anew,
                total.already + done.already,
                total.unreadable + done.unreadable,
            )
            if not found:
                break
            after = found[-1]
        log.info(
            "key_rotated",
            what=column.name,
            anew=total.anew,
            already=total.already,
            unreadable=total.unreadable,
        )
        return total

    async def _rotate_with_retries(
        self, column: SealedColumn, secrets: SecretBox, after: UUID | None
    ) -> tuple[Sequence[UUID], Rotated]:
        batch = partial(self._rotate_batch, column, secrets, after)
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                return await until_available(
                    "rotate_key", batch, on=(DatabaseUnavailable,), event="key_rotation_waits"
                )
        except TimeoutError as error:
            raise CannotRotate(
                "The database stayed away. What was sealed anew stays so: run it again."
            ) from error

    async def _rotate_batch(
        self, column: SealedColumn, secrets: SecretBox, after: UUID | None
    ) -> tuple[Sequence[UUID], Rotated]:
        async with self._database.transaction() as connection:
            rows = await connection.fetch(column.rows, after, self._batch)
            changes: list[tuple[UUID, bytes, bytes]] = []
            unreadable = 0
            for row in rows:
                try:
                    sealed = secrets.seal_anew(row["id"], row["sealed"])
                except InvalidTag:
                    unreadable += 1
                    log.warning("sealed_with_another_key", what=column.name, id=str(row["id"]))
                    continue
                if sealed is not None:
                    changes.append((row["id"], row["sealed"], sealed))
            await connection.executemany(column.put, changes)
        already = len(rows) - len(changes) - unreadable
        return [row["id"] for row in rows], Rotated(len(changes), already, unreadable)
