"""Putting a dead letter back: what each answer of the broker means for the letter."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any, cast
from uuid import UUID

import pytest
from aio_pika.exceptions import DeliveryError, PublishError
from pamqp.commands import Basic

from wa_api.dead_letters.letters import DeadLetters, QueueGone
from wa_api.owners.command_bus import BrokerUnavailable, ConfirmLost
from wa_runtime.connection_loss import BrokerConnectionLost

LETTER = UUID(int=1)
RETURNED = cast("Any", SimpleNamespace(delivery=Basic.Return(312, "NO_ROUTE", "", "q")))


class Table:
    """One dead letter, and how many connections to it are taken."""

    def __init__(self) -> None:
        self.is_listed = True
        self.taken = 0

    @asynccontextmanager
    async def connection(self) -> AsyncIterator["Table"]:
        """One of the pool."""
        self.taken += 1
        try:
            yield self
        finally:
            self.taken -= 1

    transaction = connection

    async def fetchrow(self, *_: object) -> dict[str, object] | None:
        """The letter."""
        return {"queue": "q", "type": "t", "body": b"{}"} if self.is_listed else None

    async def execute(self, *_: object) -> None:
        """It is forgotten."""
        self.is_listed = False


class Link:
    """A broker's connection; `answer` is the confirm, None: it never comes."""

    def __init__(self, table: Table, answer: BaseException | str | None) -> None:
        self.writer = self
        self.reconnects = 0
        self.taken_meanwhile = -1
        self._table = table
        self._answer = answer

    def publish(self, *_: object, **__: object) -> "asyncio.Future[str]":
        """Published."""
        self.taken_meanwhile = self._table.taken
        confirm: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        match self._answer:
            case BaseException() as error:
                confirm.set_exception(error)
            case str() as answer:
                confirm.set_result(answer)
            case None:
                pass
        return confirm

    def reconnect(self, _: object) -> None:
        """The connection is of no use."""
        self.reconnects += 1


@pytest.mark.parametrize(
    ("answer", "raised"),
    [
        (None, ConfirmLost),
        (BrokerConnectionLost("gone"), ConfirmLost),
        (PublishError(RETURNED, None), QueueGone),
        (DeliveryError(None, cast("Any", None)), BrokerUnavailable),
    ],
    ids=["silent", "lost", "unroutable", "refused"],
)
async def test_a_letter_that_was_not_put_back_for_certain_stays(
    answer: BaseException | None, raised: type[Exception]
) -> None:
    table = Table()
    link = Link(table, answer)
    letters = DeadLetters(cast("Any", table), cast("Any", link), confirm_seconds=0.05)
    async with asyncio.timeout(30):
        with pytest.raises(raised):
            await letters.put_back(LETTER)
    assert table.is_listed
    assert link.taken_meanwhile == 0, "no connection of the database waits for the broker"
    assert link.reconnects == isinstance(answer, BrokerConnectionLost)


async def test_a_letter_that_was_put_back_is_forgotten() -> None:
    table = Table()
    letters = DeadLetters(cast("Any", table), cast("Any", Link(table, "ack")))
    assert await letters.put_back(LETTER)
    assert not table.is_listed
    assert not await letters.put_back(LETTER)
