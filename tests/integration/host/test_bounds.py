"""What keeps a host's memory and its statements within bounds, however much comes at once."""

import asyncio
from collections.abc import Sequence
from typing import Any
from uuid import UUID, uuid4

import pytest

from tests.deadlines import eventually, turns
from tests.integration.host.owner import Owner, queued
from tests.unit.host.test_partition_phases import nothing_stored
from wa_contracts.ids import MessageId, SessionId, message_stream
from wa_runtime.postgres import KeptConnection
from wa_session_host.publishing.outbox import Publication
from wa_session_host.publishing.relay import BACKLOG_LIMIT, Relay
from wa_session_host.sessions.engine_timing import LoginWatch
from wa_session_host.store import group_commit
from wa_session_host.store.stored_event import StoredEvent

SESSION = SessionId(UUID(int=1))


async def _stored(owner: Owner, number: int) -> list[StoredEvent]:
    ids = [MessageId(uuid4()) for _ in range(number)]
    appends = [owner.append(SESSION, message_stream(one), 0, queued(one)) for one in ids]
    return [stored for [stored] in await asyncio.gather(*appends)]


async def test_a_statement_takes_so_many_appends_and_the_next_the_rest(
    owner: Owner, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []
    fetch = KeptConnection.fetch

    async def counted(connection: KeptConnection, query: str, *arguments: Any) -> Any:
        found = await fetch(connection, query, *arguments)
        if query == group_commit.APPEND:
            sizes.append(len(found))
        return found

    monkeypatch.setattr(KeptConnection, "fetch", counted)
    monkeypatch.setattr(group_commit, "BATCH", 4)
    stored = await _stored(owner, 10)
    assert sizes == [4, 4, 2]
    assert [one.session_sequence for one in stored] == list(range(1, 11))


class _SlowOutbox:
    """Confirms nothing until it is let."""

    def __init__(self) -> None:
        self.let = asyncio.Event()

    def publish_event(self, _: StoredEvent) -> Publication:
        return Publication([asyncio.ensure_future(self.let.wait())])

    def raise_if_unconfirmed(self, _: Publication) -> None:
        """All of it was confirmed."""


async def test_a_relay_is_full_until_events_are_confirmed(owner: Owner) -> None:
    outbox: Any = _SlowOutbox()
    relay = Relay(outbox, 0, nothing_stored)
    running = asyncio.create_task(relay.run())
    try:
        events: Sequence[StoredEvent] = await _stored(owner, BACKLOG_LIMIT)
        relay.enqueue(list(events[:-1]))
        async with asyncio.timeout(5):
            await relay.wait_for_room()
        relay.enqueue([events[-1]])
        waiting = asyncio.create_task(relay.wait_for_room())
        await turns()
        assert not waiting.done()
        outbox.let.set()
        async with asyncio.timeout(5):
            await waiting
            await relay.wait_flushed()
    finally:
        running.cancel()
        await asyncio.wait([running])


async def test_only_a_login_that_goes_on_is_overdue() -> None:
    idle, ended, goes_on = LoginWatch(0.05), LoginWatch(0.05), LoginWatch(0.1)
    watches = {watch: asyncio.create_task(watch.wait_overdue()) for watch in (idle, ended, goes_on)}
    for under_way in (True, False):  # before it is looked at: over in time
        ended.set_under_way(under_way=under_way)
    goes_on.set_under_way(under_way=True)
    await eventually(watches[goes_on].done, what="it is overdue")
    assert not watches[idle].done()
    assert not watches[ended].done()
    ended.set_under_way(under_way=True)
    await eventually(watches[ended].done, what="the next login is overdue, too")
    watches[idle].cancel()
