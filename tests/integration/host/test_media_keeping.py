"""Incoming media is kept: fetched once, described if it cannot be, deleted when its time is over."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast
from uuid import uuid4

import asyncpg
import pytest
from prometheus_client import CollectorRegistry

from tests.deadlines import eventually
from wa_contracts.ids import MessageId, SessionId
from wa_runtime.media_store.kept_media import KeptFile, KeptMedia
from wa_runtime.media_store.store import MediaStore
from wa_session_host.domain.observations import ReceivedMedia
from wa_session_host.engine.port import DownloadFailed
from wa_session_host.metrics import HostMetrics
from wa_session_host.partitions import media_keeping
from wa_session_host.partitions.media_keeping import AT_ONCE, MediaKeeping
from wa_session_host.publishing.media_transfer import MediaTransfer
from wa_session_host.store.incoming_media import IncomingMedia

PARTITION = 3
MAX_BYTES, SESSION_BYTES = 1000, 2500
Pool = asyncpg.Pool
HAPPENED = """
INSERT INTO events (partition, session_id, session_sequence, stream, stream_version, id, type,
                    version, occurred_at, correlation_id, causation_id, data)
VALUES ($1, $2, $3::int, 'session-' || $2::uuid::text, $3::int, gen_random_uuid(), $4, 1, now(), $2, $2, '{}')
"""


def media(size: int, stated: int | None = None) -> ReceivedMedia:
    """Media of a size; the sender states it, or another one."""
    return ReceivedMedia(
        kind="document",
        direct_path=str(size),
        media_key="",
        sha256="",
        encrypted_sha256="",
        size=size if stated is None else stated,
        mime_type="application/pdf",
        file_name="a.pdf",
    )


class Bench:
    """A partition with one session whose engine a test controls."""

    def __init__(self, pool: "Pool[asyncpg.Record]", folder: Path, keep: timedelta) -> None:
        self.session_id = SessionId(uuid4())
        self.table = IncomingMedia(pool, keep=keep)
        self.files = KeptMedia(MediaStore((folder / "store").as_uri()))
        self.pool = pool
        self.folder = folder
        self.failures: list[DownloadFailed] = []
        self.tries = 0
        self.at_once = self.most_at_once = 0
        self.may_end = asyncio.Event()
        self.may_end.set()
        transfer = MediaTransfer(cast("Any", None), spool=folder / "spool", max_bytes=MAX_BYTES)
        self.registry = CollectorRegistry()
        self.keeping = MediaKeeping(
            self.table,
            self.files,
            transfer,
            HostMetrics(self.registry),
            session_bytes=SESSION_BYTES,
        )
        owner = SimpleNamespace(calls=SimpleNamespace(download=self._download))
        self.owners: dict[SessionId, Any] = {self.session_id: owner}

    async def _download(self, wanted: ReceivedMedia, path: Path) -> None:
        self.tries += 1
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            await self.may_end.wait()
        finally:
            self.at_once -= 1
        if self.failures:
            raise self.failures.pop(0)
        path.write_bytes(b"x" * int(wanted.direct_path))

    async def arrives(self, wanted: ReceivedMedia) -> MessageId:
        """A message with this media arrives."""
        message_id = MessageId(uuid4())
        await self.table.want(PARTITION, self.session_id, message_id, wanted)
        return message_id

    async def happens(self, version: int, type_: str) -> None:
        """An event of the session is stored."""
        await self.pool.execute(HAPPENED, PARTITION, self.session_id, version, type_)

    async def found(self, message_id: MessageId) -> KeptFile:
        """What the media store knows of it, once it does."""

        async def known() -> KeptFile | None:
            return await self.files.find(self.session_id, message_id)

        found = await eventually(known, what="the media store knows it")
        assert found is not None
        return found

    async def content(self, message_id: MessageId) -> bytes:
        """The kept file."""
        chunks = self.files.read(self.session_id, message_id)
        return b"".join([one async for one in chunks])

    async def status(self, message_id: MessageId) -> str | None:
        """Of its row."""
        query = "SELECT status FROM incoming_media WHERE message_id = $1"
        found: str | None = await self.pool.fetchval(query, message_id)
        return found

    async def reaches(self, message_id: MessageId, status: str) -> None:
        """Wait until its row has this status."""

        async def reached() -> bool:
            return await self.status(message_id) == status

        await eventually(reached, what=f"the media is {status}")

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Its partition is held, inside the block."""
        running = asyncio.create_task(self.keeping.run(PARTITION, self.owners))
        try:
            yield
        finally:
            running.cancel()
            await asyncio.wait([running])
            assert running.cancelled(), running.exception()


@pytest.fixture
def bench(pool: "Pool[asyncpg.Record]", tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    """A partition that tries again soon."""
    monkeypatch.setattr(media_keeping, "FIRST_PAUSE_SECONDS", 0.01)
    monkeypatch.setattr(media_keeping, "SESSION_PAUSE", timedelta(seconds=0.05))
    return Bench(pool, tmp_path, timedelta(days=30))


async def test_what_arrives_is_kept_with_what_its_sender_said(bench: Bench) -> None:
    async with bench.running():
        message_id = await bench.arrives(media(900))
        known = await bench.found(message_id)
        assert (known.mime_type, known.file_name, known.size) == ("application/pdf", "a.pdf", 900)
        assert known.failure is None
        assert await bench.content(message_id) == b"x" * 900
        await bench.reaches(message_id, "kept")
        await bench.table.want(PARTITION, bench.session_id, message_id, media(900))
        later = await bench.arrives(media(1))
        await bench.reaches(later, "kept")
    assert bench.tries == 2, "a redelivered message is fetched once"
    assert not list((bench.folder / "spool").iterdir())


async def test_what_waited_while_nobody_held_the_partition_is_kept(bench: Bench) -> None:
    message_id = await bench.arrives(media(10))
    async with bench.running():
        await bench.reaches(message_id, "kept")


async def test_failures_that_may_pass_are_tried_again(bench: Bench) -> None:
    bench.failures = [
        DownloadFailed("session_disconnected", "Later."),
        DownloadFailed("media_unavailable", "The media could not be downloaded."),
    ]
    async with bench.running():
        message_id = await bench.arrives(media(10))
        await bench.reaches(message_id, "kept")
    assert bench.tries == 3


@pytest.mark.parametrize(
    ("size", "stated", "code"),
    [(10, 10, "media_gone"), (1001, 1001, "media_too_large"), (1001, 1, "media_too_large")],
)
async def test_what_cannot_be_kept_is_said(bench: Bench, size: int, stated: int, code: str) -> None:
    if code == "media_gone":
        bench.failures = [DownloadFailed("media_gone", "WhatsApp does not keep this media.")]
    async with bench.running():
        message_id = await bench.arrives(media(size, stated))
        known = await bench.found(message_id)
        assert known.failure is not None
        assert known.failure.code == code
        await bench.reaches(message_id, "failed")
    failed = bench.registry.get_sample_value("wa_media_kept_total", {"outcome": "failed"})
    assert failed == 1


async def test_a_download_that_always_fails_ends(bench: Bench) -> None:
    bench.failures = [DownloadFailed("media_unavailable", "No.")] * 100
    async with bench.running():
        message_id = await bench.arrives(media(10))
        await bench.reaches(message_id, "failed")
    assert bench.tries == media_keeping.MOST_TRIES + 1


async def test_a_sessions_kept_media_is_bounded(bench: Bench) -> None:
    async with bench.running():
        for _ in range(2):
            await bench.reaches(await bench.arrives(media(1000)), "kept")
        await bench.reaches(full := await bench.arrives(media(1000)), "failed")
        await bench.reaches(lied := await bench.arrives(media(900, stated=1)), "failed")
        await bench.reaches(await bench.arrives(media(500)), "kept")
    for message_id in (full, lied):
        failure = (await bench.found(message_id)).failure
        assert failure is not None
        assert failure.code == "media_not_kept"


async def test_few_are_fetched_at_once(bench: Bench) -> None:
    bench.may_end.clear()
    async with bench.running():
        arrived = [await bench.arrives(media(10)) for _ in range(6)]
        await eventually(lambda: bench.at_once == AT_ONCE, what="downloads have begun")
        bench.may_end.set()
        for message_id in arrived:
            await bench.reaches(message_id, "kept")
    assert bench.most_at_once == AT_ONCE


async def test_expired_media_and_that_of_deleted_sessions_is_deleted(
    pool: "Pool[asyncpg.Record]", tmp_path: Path
) -> None:
    lasting = Bench(pool, tmp_path, timedelta(days=1))
    brief = Bench(pool, tmp_path, timedelta(seconds=0))
    kept: list[tuple[Bench, MessageId]] = []
    for bench in (lasting, brief):
        await bench.happens(1, "session.created")
        async with bench.running():
            message_id = await bench.arrives(media(10))
            await bench.reaches(message_id, "kept")
            kept.append((bench, message_id))
    await lasting.keeping.delete_ended(PARTITION)
    (_, stays), (_, expired) = kept
    assert await lasting.content(stays)
    assert await brief.files.find(brief.session_id, expired) is None
    assert await brief.status(expired) is None
    await lasting.happens(2, "session.deleted")
    await lasting.keeping.delete_ended(PARTITION)
    assert await lasting.files.find(lasting.session_id, stays) is None
    assert await lasting.status(stays) is None
    assert not [one for one in (tmp_path / "store").rglob("*") if one.is_file()]
