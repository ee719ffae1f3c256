"""An append belongs to the token under which it was made."""

import asyncio
from collections.abc import Sequence
from typing import Any, cast
from uuid import UUID, uuid4

import pytest

from tests.deadlines import turns
from tests.unit.host.host_bench import now
from wa_contracts.ids import SessionId, session_stream
from wa_contracts.session_events import SessionStopped
from wa_session_host.store.group_commit import GroupCommitWriter
from wa_session_host.store.stored_event import Append, FencingToken, LeaseLost, StoredEvent

OLD, NEW = FencingToken(1), FencingToken(2)


class Database:
    """Stores everything, under the tokens that it was given."""

    def __init__(self) -> None:
        self.tokens: list[int] = []
        self.may_answer = asyncio.Event()
        self.may_answer.set()

    async def fetch(self, sql: str, *values: Any) -> Sequence[dict[str, Any]]:
        """Insert, or say that a session has no event."""
        await self.may_answer.wait()
        if "INSERT" not in sql:
            return [{"session_id": one, "sequence": 41} for one in values[0]]
        self.tokens += values[2]
        return [{"id": id_, "position": 1} for id_ in values[8]]


def append(session: int = 1) -> Append:
    """One event of a session."""
    session_id = SessionId(UUID(int=session))
    return Append(
        partition=3,
        session_id=session_id,
        stream=session_stream(session_id),
        expected_version=0,
        events=(SessionStopped(),),
        correlation_id=uuid4(),
        causation_id=uuid4(),
    )


@pytest.fixture
async def database() -> Database:
    return Database()


@pytest.fixture
def writer(database: Database) -> GroupCommitWriter:
    """Not running yet."""
    return GroupCommitWriter(cast("Any", database), "host-a", now)


async def test_a_late_close_of_an_old_token_leaves_the_new_one_open(
    writer: GroupCommitWriter, database: Database
) -> None:
    """The old owner's tasks may end after this host has claimed the partition again."""
    relayed: list[StoredEvent] = []
    writer.open_partition(3, OLD, relayed.extend)
    writer.open_partition(3, NEW, relayed.extend)
    writer.close_partition(3, OLD)
    running = asyncio.create_task(writer.run())
    [stored] = await asyncio.wait_for(writer.append(append()), 30)
    assert (database.tokens, stored.session_sequence) == ([NEW], 42)
    writer.close_partition(3, NEW)
    with pytest.raises(LeaseLost):
        await asyncio.wait_for(writer.append(append()), 30)
    running.cancel()


async def test_an_append_of_an_old_token_is_not_stored_under_the_new_one(
    writer: GroupCommitWriter, database: Database
) -> None:
    old_relayed: list[StoredEvent] = []
    new_relayed: list[StoredEvent] = []
    writer.open_partition(3, OLD, old_relayed.extend)
    old = writer.append(append(1))
    writer.close_partition(3, OLD)
    writer.open_partition(3, NEW, new_relayed.extend)
    new = writer.append(append(2))
    running = asyncio.create_task(writer.run())
    await asyncio.wait_for(new, 30)
    with pytest.raises(LeaseLost):
        await asyncio.wait_for(old, 30)
    assert (database.tokens, old_relayed, len(new_relayed)) == ([NEW], [], 1)
    running.cancel()


async def test_a_statement_under_way_keeps_its_token(
    writer: GroupCommitWriter, database: Database
) -> None:
    database.may_answer.clear()
    writer.open_partition(3, OLD, lambda _: None)
    running = asyncio.create_task(writer.run())
    old = writer.append(append())
    await turns()  # it reads the session's sequence
    writer.close_partition(3, OLD)
    writer.open_partition(3, NEW, lambda _: None)
    database.may_answer.set()
    with pytest.raises(LeaseLost):
        await asyncio.wait_for(old, 30)
    assert database.tokens == []
    running.cancel()
