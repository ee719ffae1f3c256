"""A worker's memory: bounded, whatever a phone sends, and offered for merging only if asked."""

import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from uuid import UUID

import pytest

from tests.deadlines import eventually
from tests.integration.host.running_engines import FIRST_NUMBER, Host, stand_in_for_engines
from tests.whatsapp import StandIn
from tests.whatsapp.protobufs import HistorySync
from wa_contracts.ids import SessionId
from wa_contracts.internal.commands import MessageType
from wa_session_host.domain.observations import EngineCrashed
from wa_session_host.engine.neonize.worker_memory import WorkerMemory
from wa_session_host.engine.port import OutgoingMessage
from wa_session_host.engine.process.worker_engines import WorkerEngines

LIMIT = 240 * 1024 * 1024
"""An idle worker counts 195 MiB."""
SMALL, LARGE = 1_000, 60_000
"""Messages of a piece of history; the engine takes some 5 kB for each."""


@pytest.fixture
async def whatsapp() -> AsyncIterator[StandIn]:
    async with stand_in_for_engines() as server:
        yield server


def history(messages: int) -> HistorySync:
    """A piece of history with one chat."""
    piece = HistorySync(syncType=HistorySync.INITIAL_BOOTSTRAP)
    chat = piece.conversations.add(ID="12345670000@s.whatsapp.net")
    for number in range(messages):
        message = chat.messages.add().message
        message.key.ID = f"3EB0{number:016X}"
        message.key.remoteJID = "12345670000@s.whatsapp.net"
        message.messageTimestamp = 1_700_000_000 + number
        message.message.conversation = f"message {number} " + "x" * 200
    return piece


async def test_a_history_above_the_limit_ends_that_worker_alone_and_the_link_survives(
    whatsapp: StandIn, tmp_path: Path
) -> None:
    async with AsyncExitStack() as stack:
        host = Host(f"sqlite://{tmp_path}", whatsapp, stack, WorkerMemory(limit=LIMIT))
        stack.push_async_callback(host.engines.close)
        overfed, other = [await host.start(number) for number in range(2)]
        for one in (overfed, other):
            await one.logged_in()
        phone, contact = whatsapp.phone(str(FIRST_NUMBER)), whatsapp.contact("12345670000")
        await phone.send_history(history(SMALL))
        await overfed.engine.send(_text("after a small piece"))
        await contact.receive()
        await phone.send_history(history(LARGE))
        await eventually(
            lambda: any(isinstance(one, EngineCrashed) for one in overfed.seen), what="its end"
        )
        await overfed.engine.stop()
        again = await host.start(0, overfed.link)
        await again.logged_in()
        for running, text in ((again, "linked still"), (other, "not affected")):
            await running.engine.send(_text(text))
            assert (await contact.receive()).text == text
        assert not [
            one for run in (again, other) for one in run.seen if isinstance(one, EngineCrashed)
        ]
        for running in (again, other):
            await running.engine.stop()


def _text(text: str) -> OutgoingMessage:
    return OutgoingMessage("12345670000", MessageType.TEXT, text, None)


@pytest.mark.parametrize("merges", [False, True])
async def test_workers_memory_is_offered_for_merging_only_if_asked(
    tmp_path: Path, merges: bool
) -> None:
    engines = WorkerEngines(
        f"sqlite://{tmp_path}", starts_per_second=50, memory=WorkerMemory(merges=merges)
    )
    try:
        engines.extend(time.monotonic() + 60)
        engine = await engines.start(SessionId(UUID(int=1)), None)
        state = Path(f"/proc/{engine.pid}/ksm_stat")
        if not state.exists():
            pytest.skip("This kernel does not tell whether a process's memory may be merged.")
        maps = Path(f"/proc/{engine.pid}/maps")
        await eventually(lambda: "neonize-" in maps.read_text(), what="the library is loaded")
        assert ("ksm_merge_any: yes" in state.read_text()) is merges
        await engine.stop()
    finally:
        await engines.close()
