"""Each strike alone, under traffic: whatever happens, every promise is kept and all recovers."""

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from tests.deadlines import eventually
from tests.faults.clients import Clients
from tests.faults.field import Field, a_field
from tests.faults.strikes import KINDS, Strike, Strikes

SESSIONS = 8
TO = "919876543210"


@dataclass
class StruckField:
    """A field with working sessions, its clients and its strikes."""

    field: Field
    clients: Clients
    strikes: Strikes

    async def calm(self) -> None:
        """Wait until all sessions work and a host each owns some."""

        async def all_work() -> bool:
            answer = await self.field.ring.admin.get("/api/sessions", params={"limit": "200"})
            assert answer.status_code == 200, answer.text
            shown = {one["status"] for one in answer.json()["items"]}
            assert shown == {"working"}, shown
            return True

        await eventually(all_work, what="all sessions work")

    async def answered(self, more: int) -> None:
        """Wait until so many more messages were answered 200."""

        def good() -> int:
            return sum(one.statuses[-1:] == [200] for one in self.clients.sent)

        wanted = good() + more
        await eventually(lambda: good() >= wanted, what=f"{more} more sends answered")


@pytest.fixture(scope="module")
async def struck() -> AsyncIterator[StruckField]:
    """One field for all strikes: each must leave it whole for the next."""
    with TemporaryDirectory(prefix="wa-test-strikes-", ignore_cleanup_errors=True) as directory:
        async with a_field(Path(directory)) as field:
            await field.open_sessions(SESSIONS)
            yield StruckField(field, Clients(field.ring, field.sessions, seed=1), Strikes(field))


@pytest.mark.parametrize("kind", KINDS)
async def test_every_promise_holds_under(struck: StruckField, kind: str) -> None:
    await struck.calm()
    ends = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        group.create_task(struck.clients.send_until(ends, at_once=SESSIONS))
        await struck.answered(SESSIONS)
        await struck.strikes.strike(kind)
        await struck.answered(SESSIONS)
        ends.set()
    findings = await struck.field.findings(struck.clients, struck.strikes.done)
    assert findings.problems() == [], findings.table()


async def test_what_a_host_without_its_database_held_works_elsewhere_before_it_is_back(
    struck: StruckField,
) -> None:
    """It still reaches the broker: it must let go of its queues although nobody tells it to."""
    await struck.calm()
    field = struck.field
    while not (hit := await field.sessions_of("host-1")):
        await field.open_sessions(1)
    field.host_database.half_open = True
    began = time.time()
    try:
        for session in field.sessions:
            if session["sessionId"] in hit:
                await eventually(partial(answers, field, session), what="an answer")
    finally:
        field.host_database.heal()
    struck.strikes.done.append(Strike("database_half_open", began, time.time(), hit))
    await struck.calm()


async def answers(field: Field, session: dict[str, Any]) -> bool:
    """Whether a send through this session is acknowledged."""
    answer = await field.ring.send(session["token"], to=TO, type="text", message="cut off")
    assert answer.status_code == 200, answer.text
    return True


async def test_the_second_hosts_clock_is_a_minute_ahead_and_no_event_tells(
    struck: StruckField,
) -> None:
    lines = struck.field.ring.log("host-1").splitlines()
    logged = datetime.fromisoformat(lines[-1].split()[0])
    now = datetime.now(UTC)
    assert logged - now > timedelta(seconds=30), "the clock of the second host is right"
    assert "partitions_claimed" in struck.field.ring.log("host-1")
    assert all(event.occurred_at <= now for event in struck.field.consumed)
