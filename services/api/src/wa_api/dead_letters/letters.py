"""The dead letters table: stored, shown to the operator, put back on request."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import cast
from uuid import UUID

import asyncpg
from aio_pika.abc import AbstractIncomingMessage
from aio_pika.exceptions import DeliveryError, PublishError

from wa_api.database.pool import Database
from wa_api.http.models import View
from wa_api.http.paging import Page, Place, page_of
from wa_api.owners.command_bus import BrokerUnavailable, ConfirmLost
from wa_contracts.codec import (
    Undecodable,
    decode_bundle,
    decode_command,
    decode_event,
)
from wa_contracts.ids import new_id
from wa_contracts.internal.bundle import BUNDLE
from wa_contracts.topology import COMMANDS, PROJECTOR
from wa_runtime.broker import BrokerLink
from wa_runtime.channel_writer import DEFAULT_EXCHANGE, durable
from wa_runtime.connection_loss import BrokerConnectionLost

LONGEST_CAUSE = 500
CONFIRM_SECONDS = 10.0


class DeadLetter(View):
    """One message that could not be handled. The body is not shown, since it may be private.

    `reason` is the broker's reason; `cause` is why the message could not be decoded.
    """

    id: UUID
    queue: str
    reason: str
    cause: str | None
    type: str | None
    size: int
    died_at: datetime


@dataclass(frozen=True)
class ReceivedDeadLetter:
    """A dead letter with everything that a retry needs."""

    id: UUID
    queue: str
    reason: str
    cause: str | None
    type: str | None
    body: bytes
    died_at: datetime


def read(message: AbstractIncomingMessage) -> ReceivedDeadLetter:
    """Read a dead-lettered message and the broker's `x-death` header."""
    first = _first_death(message)
    queue = _storable(first.get("queue", ""))
    return ReceivedDeadLetter(
        id=new_id(),
        queue=queue,
        reason=_storable(first.get("reason", "unknown")),
        cause=_cause(queue, message.type, message.body),
        type=None if message.type is None else _storable(message.type),
        body=message.body,
        died_at=_time(first.get("time")),
    )


def _first_death(message: AbstractIncomingMessage) -> Mapping[str, object]:
    """The broker's first entry; empty if the message was published directly to the queue."""
    deaths = message.headers.get("x-death")
    first: object = deaths[0] if isinstance(deaths, list) and deaths else None
    return cast("Mapping[str, object]", first) if isinstance(first, dict) else {}


def _storable(value: object) -> str:
    """Text that Postgres can store: no U+0000."""
    return str(value).replace("\0", "\ufffd")


def _cause(queue: str, kind: str | None, body: bytes) -> str | None:
    """Why the message could not be decoded, without its content; None if it can be."""
    try:
        if queue == PROJECTOR and kind == BUNDLE:
            for one in decode_bundle(body):
                decode_event(one.json)
        elif queue == PROJECTOR:
            decode_event(body)
        elif queue.startswith(COMMANDS):
            decode_command(body)
    except Undecodable as error:
        return _storable(error)[:LONGEST_CAUSE]
    return None


def _time(value: object) -> datetime:
    return value.astimezone(UTC) if isinstance(value, datetime) else datetime.now(UTC)


class QueueGone(Exception):
    """The queue of a dead letter no longer exists. `queue` is its name."""

    def __init__(self, queue: str) -> None:
        super().__init__(queue)
        self.queue = queue


class DeadLetters:
    """The dead letters table. `put_back` publishes to the original queue."""

    def __init__(
        self, database: Database, link: BrokerLink, *, confirm_seconds: float = CONFIRM_SECONDS
    ) -> None:
        """`link` publishes messages that are put back; the broker confirms in `confirm_seconds`."""
        self._database = database
        self._link = link
        self._confirm_seconds = confirm_seconds

    async def keep(self, dead_letter: ReceivedDeadLetter) -> None:
        """Store a dead letter.

        Raises:
            DatabaseUnavailable: Nothing is stored.
        """
        async with self._database.connection() as connection:
            await connection.execute(
                _KEEP,
                dead_letter.id,
                dead_letter.queue,
                dead_letter.reason,
                dead_letter.cause,
                dead_letter.type,
                dead_letter.body,
                dead_letter.died_at,
            )

    async def page(self, after: Place | None, limit: int) -> Page[DeadLetter]:
        """Dead letters, newest first.

        Raises:
            DatabaseUnavailable: The table cannot be read.
        """
        async with self._database.connection() as connection:
            rows = await connection.fetch(
                _PAGE, after and after.created_at, after and after.id, limit + 1
            )
        return page_of(
            rows, limit, lambda row: DeadLetter(**row), lambda one: Place(one.died_at, one.id)
        )

    async def delete(self, letter_id: UUID) -> bool:
        """Delete a dead letter; False if there is none.

        Raises:
            DatabaseUnavailable: Nothing is known of the deletion.
        """
        async with self._database.connection() as connection:
            return await connection.fetchval(_DELETE, letter_id) is not None

    async def put_back(self, letter_id: UUID) -> bool:
        """Publish a dead letter to its original queue, then delete it; False if there is none.

        No connection of the database waits for the broker. A crash in between, or a second caller,
        publishes it twice, which consumers tolerate.

        Raises:
            BrokerUnavailable: Not published, and still listed.
            ConfirmLost: Possibly published, and still listed.
            QueueGone: Not published, and still listed.
            DatabaseUnavailable: Possibly published, and still listed.
        """
        async with self._database.connection() as connection:
            row = await connection.fetchrow(_SELECT, letter_id)
        if row is None:
            return False
        await self._publish(row)
        async with self._database.connection() as connection:
            await connection.execute(_DELETE, letter_id)
        return True

    async def _publish(self, row: asyncpg.Record) -> None:
        writer = self._link.writer
        if writer is None:
            raise BrokerUnavailable
        try:
            async with asyncio.timeout(self._confirm_seconds):
                # Publish to the queue itself, so that other queues do not receive it again.
                await writer.publish(
                    row["body"], durable(row["type"]), exchange=DEFAULT_EXCHANGE, key=row["queue"]
                )
        except PublishError as error:
            raise QueueGone(row["queue"]) from error
        except DeliveryError as error:
            raise BrokerUnavailable from error
        except BrokerConnectionLost as error:
            self._link.reconnect(writer)
            raise ConfirmLost from error
        except TimeoutError as error:
            raise ConfirmLost from error


_KEEP = """
    INSERT INTO dead_letters (id, queue, reason, cause, type, body, died_at)
    VALUES ($1, $2, $3, $4, $5, $6, $7)
"""
_PAGE = """
    SELECT id, queue, reason, cause, type, length(body) AS size, died_at FROM dead_letters
    WHERE $1::timestamptz IS NULL OR (died_at, id) < ($1, $2::uuid)
    ORDER BY died_at DESC, id DESC LIMIT $3
"""
_SELECT = "SELECT queue, type, body FROM dead_letters WHERE id = $1"
_DELETE = "DELETE FROM dead_letters WHERE id = $1 RETURNING id"
