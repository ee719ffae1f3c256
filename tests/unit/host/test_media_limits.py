"""Media under way is bounded, and a slow reader delays its own session only."""

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, cast
from uuid import UUID

import pytest

from tests.deadlines import eventually, turns
from wa_contracts.ids import SessionId
from wa_contracts.internal.commands import MessageType
from wa_runtime.media_store.store import MediaStore
from wa_session_host.domain.message import Content
from wa_session_host.domain.observations import ReceivedMedia
from wa_session_host.engine.port import DownloadFailed
from wa_session_host.engine.simulated.engine import Script, SimulatedEngines
from wa_session_host.media.byte_budget import ByteBudget
from wa_session_host.media.conversion import Converter
from wa_session_host.media.fetching import FILES_IN_MEMORY, MediaFetcher
from wa_session_host.publishing import media_transfer
from wa_session_host.publishing.media_transfer import (
    DOWNLOADS_AT_ONCE,
    TRANSFERS_AT_ONCE,
    TRANSFERS_OF_A_SESSION,
    MediaTransfer,
)
from wa_session_host.publishing.outbox import NotConfirmed

MAX_BYTES = 1000
MEDIA = ReceivedMedia(
    kind="document",
    direct_path="/",
    media_key="",
    sha256="",
    encrypted_sha256="",
    size=10,
    mime_type="application/pdf",
)


async def test_a_budget_is_first_come_first_served() -> None:
    budget = ByteBudget(10)
    order: list[int] = []
    release = [asyncio.Event() for _ in range(4)]

    async def take(number: int, size: int) -> None:
        async with budget.taken(size):
            order.append(number)
            await release[number].wait()

    async with asyncio.TaskGroup() as group:
        for number, size in enumerate((6, 8, 1, 100)):
            group.create_task(take(number, size))
        await turns()
        assert order == [0], "a small one does not overtake"
        release[0].set()
        await turns()
        assert order == [0, 1, 2]
        release[1].set()
        await turns()
        assert order == [0, 1, 2], "the largest passes alone"
        release[2].set()
        await turns()
        assert order == [0, 1, 2, 3]
        release[3].set()


async def test_few_large_files_are_with_engines_at_once(tmp_path: Path) -> None:
    converter = Converter(
        SimulatedEngines(Script()).start_decoder, spool=tmp_path, max_bytes=MAX_BYTES
    )
    fetcher = MediaFetcher(
        media_root=tmp_path,
        spool=tmp_path,
        max_bytes=MAX_BYTES,
        allowed_hosts=(),
        converter=converter,
        store=MediaStore(tmp_path.as_uri()),
    )
    (tmp_path / "large.bin").write_bytes(b"x" * MAX_BYTES)
    content = Content(media_url="large.bin")

    def ready() -> Any:
        return fetcher.ready(MessageType.DOCUMENT, content)

    async with AsyncExitStack() as sending:
        for _ in range(FILES_IN_MEMORY):
            await sending.enter_async_context(ready())

        async def next_one() -> None:
            async with ready():
                pass

        waiting = asyncio.create_task(next_one())
        await asyncio.sleep(0.2)
        assert not waiting.done()
    await asyncio.wait_for(waiting, 30)


class Outbox:
    """A broker whose queues are read when the test lets."""

    def __init__(self) -> None:
        self.is_read = asyncio.Event()

    async def publish_media_chunk(self, *_: object) -> None:
        """Refused while nothing is read."""
        if not self.is_read.is_set():
            raise NotConfirmed("the queue is full")


class Sessions:
    """Downloads at once; counts."""

    def __init__(self, spool: Path) -> None:
        self.outbox = Outbox()
        self.transfer = MediaTransfer(cast("Any", self.outbox), spool=spool, max_bytes=MAX_BYTES)
        self.downloaded: list[int] = []

    async def read(self, session: int) -> None:
        """One request for media of a session."""

        async def download(_: ReceivedMedia, path: Path) -> None:
            path.write_bytes(b"0123456789")
            self.downloaded.append(session)

        session_id = SessionId(UUID(int=session))
        async with self.transfer.downloaded(session_id, MEDIA, download) as (_, path):
            await self.transfer.send(path, "queue")


@pytest.fixture
async def sessions(tmp_path: Path) -> Sessions:
    return Sessions(tmp_path / "spool")


async def test_slow_readers_hold_no_place_of_a_download(sessions: Sessions) -> None:
    slow = DOWNLOADS_AT_ONCE + 2
    assert slow < TRANSFERS_AT_ONCE
    async with asyncio.TaskGroup() as group:
        for session in range(slow):
            group.create_task(sessions.read(session))
        await eventually(lambda: len(sessions.downloaded) == slow, what="all are downloaded")
        sessions.outbox.is_read.set()


async def test_a_session_has_few_transfers_at_a_time(
    sessions: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit = TRANSFERS_OF_A_SESSION
    async with asyncio.TaskGroup() as group:
        for _ in range(limit):
            group.create_task(sessions.read(1))
        await eventually(lambda: sessions.downloaded == [1] * limit, what="the first")
        with monkeypatch.context() as strict:
            strict.setattr(media_transfer, "BUSY_SECONDS", 0.01)
            with pytest.raises(DownloadFailed, match="Read or close one") as raised:
                await sessions.read(1)
        assert raised.value.code == "media_unavailable"
        last = group.create_task(sessions.read(1))
        await turns()
        assert sessions.downloaded == [1] * limit
        sessions.outbox.is_read.set()
        await asyncio.wait_for(last, 30)
    assert sessions.downloaded == [1] * (limit + 1)


async def test_a_reader_below_the_least_pace_is_given_up(
    sessions: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It reads a chunk in time again and again, and is too slow as a whole."""
    monkeypatch.setattr(media_transfer, "CHUNK_BYTES", 1)
    monkeypatch.setattr(media_transfer, "FIRST_PAUSE_SECONDS", 0.06)
    monkeypatch.setattr(media_transfer, "STALLED_SECONDS", 0.1)
    refused: list[bool] = []

    async def every_second_time(*_: object) -> None:
        refused.append(not (refused and refused[-1]))
        if refused[-1]:
            raise NotConfirmed("the queue is full")

    monkeypatch.setattr(sessions.outbox, "publish_media_chunk", every_second_time)
    with pytest.raises(NotConfirmed):
        await sessions.read(1)
    monkeypatch.setattr(media_transfer, "LEAST_BYTES_PER_SECOND", 1)
    await sessions.read(1)
