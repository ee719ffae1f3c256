"""An append whose answer was lost stays in doubt until the store has said what it holds."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, cast
from uuid import UUID, uuid4

import asyncpg
import pytest

from wa_contracts.ids import MessageId, SessionId, message_stream
from wa_contracts.internal.commands import MessageType
from wa_contracts.message_events import MessageQueued
from wa_runtime.postgres import is_unavailable
from wa_session_host.store.group_commit import GroupCommitWriter
from wa_session_host.store.stored_event import Append, FencingToken, StoredEvent, VersionConflict

LOST = asyncpg.ConnectionDoesNotExistError("connection was closed in the middle of operation")
WAITED_FOR = (
    asyncpg.ReadOnlySQLTransactionError("read-only"),
    asyncpg.DiskFullError("no space left on device"),
    asyncpg.DeadlockDetectedError("deadlock"),
    asyncpg.SerializationError("serialization"),
    asyncpg.TooManyConnectionsError("too many clients"),
    asyncpg.OutOfMemoryError("out of memory"),
    asyncpg.InvalidPasswordError("authentication"),
    asyncpg.CannotConnectNowError("starting up"),
    ConnectionRefusedError("refused"),
    TimeoutError(),
)
SESSION = SessionId(UUID(int=1))


class Database:
    """The table of events in memory. `faults` are raised by the next statements, None by none.

    A fault that is a lost answer comes after its rows are stored.
    """

    def __init__(self) -> None:
        self.rows: dict[UUID, int] = {}
        self.statements = 0
        self.faults: list[BaseException | None] = []
        self._keys: set[tuple[Any, ...]] = set()

    async def fetch(self, sql: str, *values: Any) -> Sequence[dict[str, Any]]:
        """Insert, or look up."""
        if sql.lstrip().startswith("SELECT"):
            return [
                {"id": id_, "position": self.rows[id_]} for id_ in values[0] if id_ in self.rows
            ]
        self.statements += 1
        fault = self.faults.pop(0) if self.faults else None
        if fault is not None and fault is not LOST:
            raise fault
        sessions, sequences, streams, versions, ids = values[4:9]
        keys = [
            *zip(sessions, sequences, strict=True),
            *zip(streams, versions, strict=True),
        ]
        if any(key in self._keys for key in keys):
            raise asyncpg.UniqueViolationError("duplicate key")
        self._keys.update(keys)
        self.rows |= {id_: len(self.rows) + at + 1 for at, id_ in enumerate(ids)}
        if fault is not None:
            raise fault
        return [{"id": id_, "position": self.rows[id_]} for id_ in ids]


class Writer:
    """A writer on the table, and what was handed to the relay."""

    def __init__(self) -> None:
        self.database = Database()
        self.relayed: list[StoredEvent] = []
        self.commit = GroupCommitWriter(
            cast("Any", self.database), "host-a", lambda: datetime.now(UTC)
        )
        self.commit.open_partition(1, FencingToken(1), self.relayed.extend)

    async def append(
        self, message_id: MessageId | None = None, reference: str | None = None
    ) -> StoredEvent:
        """One message of the session."""
        id_ = message_id or MessageId(uuid4())
        queued = MessageQueued(
            id=id_,
            to="919876543210",
            type=MessageType.TEXT,
            reference=reference,
            expires_at=datetime.now(UTC) + timedelta(hours=1),
        )
        append = Append(
            partition=1,
            session_id=SESSION,
            stream=message_stream(id_),
            expected_version=0,
            events=(queued,),
            correlation_id=uuid4(),
            causation_id=uuid4(),
        )
        [stored] = await asyncio.wait_for(self.commit.append(append), 10)
        return stored


@pytest.fixture
async def writer() -> AsyncIterator[Writer]:
    writer = Writer()
    running = asyncio.create_task(writer.commit.run())
    yield writer
    running.cancel()
    await asyncio.wait([running])


@pytest.mark.parametrize("fault", WAITED_FOR, ids=lambda fault: type(fault).__name__)
async def test_a_lost_answer_followed_by_any_outage_is_found_in_the_store(
    writer: Writer, fault: Exception
) -> None:
    writer.database.faults = [LOST, fault, fault]
    first = await writer.append()
    second = await writer.append()
    assert (first.session_sequence, second.session_sequence) == (1, 2)
    assert [one.id for one in writer.relayed] == [first.id, second.id]
    assert set(writer.database.rows) == {first.id, second.id}


@pytest.mark.parametrize("fault", WAITED_FOR, ids=lambda fault: type(fault).__name__)
async def test_an_outage_alone_is_waited_for(writer: Writer, fault: Exception) -> None:
    writer.database.faults = [fault, fault, None]
    assert (await writer.append()).session_sequence == 1


async def test_a_repeat_in_a_large_batch_is_found_in_few_statements(writer: Writer) -> None:
    """A client that sends pairs of one key must not turn a batch into as many transactions."""
    known = MessageId(uuid4())
    await writer.append(known)
    before = writer.database.statements
    appends = [writer.append(known if at == 77 else None) for at in range(256)]
    results = await asyncio.gather(*appends, return_exceptions=True)
    assert [at for at, one in enumerate(results) if isinstance(one, VersionConflict)] == [77]
    stored = [one for one in results if isinstance(one, StoredEvent)]
    assert [one.session_sequence for one in stored] == list(range(2, 257))
    assert writer.database.statements - before < 20


async def test_values_that_cannot_be_encoded_end_their_append_alone(writer: Writer) -> None:
    fault: Any = type("DataError", (asyncpg.InterfaceError, ValueError), {})("value out of range")
    writer.database.faults = [fault]
    with pytest.raises(asyncpg.InterfaceError):
        await writer.append()
    assert (await writer.append()).session_sequence == 1


async def test_text_that_utf_8_cannot_hold_ends_its_append_alone(writer: Writer) -> None:
    """All sessions of a host share the writer: it must survive every append."""
    bad, good = await asyncio.gather(
        writer.append(reference="\ud83d"), writer.append(), return_exceptions=True
    )
    assert isinstance(bad, ValueError)
    assert isinstance(good, StoredEvent)
    assert good.session_sequence == 1


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        *((error, True) for error in WAITED_FOR),
        (asyncpg.UndefinedTableError("not migrated yet"), True),
        (asyncpg.UniqueViolationError("duplicate"), False),
        (asyncpg.CheckViolationError("check"), False),
        (asyncpg.UntranslatableCharacterError("U+0000"), False),
        (asyncpg.CharacterNotInRepertoireError("U+0000"), False),
        (asyncpg.NumericValueOutOfRangeError("too large"), False),
        (asyncpg.PostgresSyntaxError("syntax"), False),
        (KeyError("a bug"), False),
    ],
    ids=lambda value: type(value).__name__,
)
def test_which_errors_may_pass(error: Exception, *, expected: bool) -> None:
    assert is_unavailable(error) is expected
