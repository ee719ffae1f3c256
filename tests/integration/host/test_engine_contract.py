"""One suite for the engine's port, run on the simulated engine and on the real one."""

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import pytest

from tests.deadlines import PATIENCE_SECONDS, eventually
from tests.system.pictures import png
from tests.unit.decoding.samples import TONE, ffmpeg
from tests.whatsapp import StandIn
from wa_contracts.ids import SessionId
from wa_contracts.internal.commands import MessageType
from wa_session_host.domain.observations import (
    ConnectionLost,
    EngineCrashed,
    LinkedDevice,
    LoggedIn,
    MessageSeen,
    QRShown,
    ReceiptSeen,
    Seen,
)
from wa_session_host.engine.port import (
    DownloadFailed,
    Engine,
    Engines,
    MediaFile,
    NotSent,
    OutcomeUnknown,
    OutgoingMessage,
    SendRefused,
)
from wa_session_host.engine.process import worker_engine
from wa_session_host.engine.process.worker_engine import WorkerEngine
from wa_session_host.engine.process.worker_engines import ForkRate, WorkerEngines
from wa_session_host.engine.simulated.engine import Script, SimulatedEngines
from wa_session_host.media.conversion import Converter

NUMBER = "919876543210"
RECIPIENT = "12345678900"
FILE_NAME, CAPTION = "figures 東京.pdf", "the figures"


@dataclass
class Bench:
    """Engines of one kind, and what surrounds them."""

    engines: Engines
    scan: Callable[[str], Awaitable[None]]
    enter_code: Callable[[str], Awaitable[None]]
    drop: Callable[[], Awaitable[None]]
    nobody: str
    """A number that is not on WhatsApp."""
    bring: Callable[[Engine, bytes], Awaitable[None]]
    """Let a document with this content arrive at the engine."""
    forget_media: Callable[[], None]
    """Let WhatsApp keep no media any more."""
    written_otherwise: str
    """A number that WhatsApp writes otherwise, and how."""
    as_whatsapp_writes: str
    hidden: str
    """The recipient's JID that hides the number."""
    asked: Callable[[], list[str]]
    """The numbers that WhatsApp was asked about; the simulated one keeps no list."""


@asynccontextmanager
async def simulated(folder: Path) -> AsyncIterator[Bench]:
    """The simulated engine: it scans by itself."""

    async def nothing(_text: str = "") -> None:
        return

    engines = SimulatedEngines(Script(links_after=0.3, reconnects_after=0.1))
    engines.extend(time.monotonic() + 120)

    async def bring(engine: Engine, data: bytes) -> None:
        """Its recipient sends back what it gets."""
        path = folder / "sent.pdf"
        path.write_bytes(data)
        media = MediaFile(path, "application/pdf", FILE_NAME)
        await engine.send(OutgoingMessage("15550000005", MessageType.DOCUMENT, CAPTION, media))

    forget = engines.media_server.clear
    yield Bench(
        engines=engines,
        scan=nothing,
        enter_code=nothing,
        drop=nothing,
        nobody="19995550000",
        bring=bring,
        forget_media=forget,
        written_otherwise="5511987650006",
        as_whatsapp_writes="551187650006",
        hidden=f"{int(RECIPIENT) + 1}@lid",
        asked=list,
    )
    await engines.close()


@asynccontextmanager
async def real(folder: Path) -> AsyncIterator[Bench]:
    """Neonize in worker processes, against the stand-in."""
    async with StandIn.start() as whatsapp:
        before = dict(os.environ)
        os.environ.update(whatsapp.engine_environment())
        try:
            phone = whatsapp.phone(NUMBER)
            contact = whatsapp.contact(RECIPIENT)
            contact.auto_deliver = True
            contact.is_meant_by("1234567890")
            engines = WorkerEngines(f"sqlite://{folder}", starts_per_second=20)
            engines.extend(time.monotonic() + 120)

            async def bring(_engine: Engine, data: bytes) -> None:
                await contact.send_document(NUMBER, data, "application/pdf", FILE_NAME, CAPTION)

            yield Bench(
                engines=engines,
                scan=phone.scan,
                enter_code=phone.enter_pairing_code,
                drop=phone.drop,
                nobody="19995550000",
                bring=bring,
                forget_media=whatsapp.forget_media,
                written_otherwise="1234567890",
                as_whatsapp_writes=RECIPIENT,
                hidden=f"{contact.lid}@lid",
                asked=lambda: whatsapp.numbers_asked_about,
            )
            await engines.close()
        finally:
            os.environ.clear()
            os.environ.update(before)


@pytest.fixture(params=[simulated, real], ids=["simulated", "real"])
async def bench(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Bench]:
    """The suite's surroundings, once with each engine."""
    async with request.param(tmp_path) as made:
        yield made


class Watched:
    """An engine and all that it saw so far."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.all: list[Seen] = []
        self.ended = False
        self._reading = asyncio.create_task(self._read())

    async def _read(self) -> None:
        async for seen in self.engine.observations():
            self.all.append(seen)
        self.ended = True

    async def saw(self, kind: type[Seen], within: float = PATIENCE_SECONDS) -> Seen:
        """The first observation of a kind."""

        def found() -> Seen | None:
            return next((one for one in self.all if isinstance(one, kind)), None)

        seen = await eventually(found, within=within, what=f"the engine saw {kind.__name__}")
        assert seen is not None
        return seen

    async def stop(self) -> None:
        """End it and its reading."""
        await self.engine.stop()
        async with asyncio.timeout(5):
            await self._reading


async def link(bench: Bench) -> tuple[SessionId, Watched, LinkedDevice]:
    """A fresh session, linked by QR and logged in."""
    session_id = SessionId(uuid4())
    watched = Watched(await bench.engines.start(session_id, None))
    shown = await watched.saw(QRShown)
    assert isinstance(shown, QRShown)
    await bench.scan(shown.qr)
    device = await watched.saw(LinkedDevice)
    assert isinstance(device, LinkedDevice)
    await watched.saw(LoggedIn)
    return session_id, watched, device


def text(to: str = RECIPIENT, words: str = "hello") -> OutgoingMessage:
    """A text message."""
    return OutgoingMessage(to, MessageType.TEXT, words, None)


async def test_link_send_receipt_and_return_without_a_qr(bench: Bench) -> None:
    session_id, watched, device = await link(bench)
    assert device.jid.endswith("@s.whatsapp.net")
    assert device.phone_number in device.jid
    sent = await watched.engine.send(text())
    assert sent.message_id.startswith("3EB0")
    receipt = await watched.saw(ReceiptSeen)
    assert isinstance(receipt, ReceiptSeen)
    assert sent.message_id in receipt.message_ids
    await watched.stop()
    assert watched.ended
    again = Watched(await bench.engines.start(session_id, device))
    await again.saw(LoggedIn)
    assert not any(isinstance(seen, QRShown) for seen in again.all)
    assert (await again.engine.send(text())).message_id != sent.message_id
    await again.stop()


async def test_observations_come_in_order(bench: Bench) -> None:
    _, watched, _ = await link(bench)
    kinds = [type(seen) for seen in watched.all]
    assert kinds.index(QRShown) < kinds.index(LinkedDevice) < kinds.index(LoggedIn)
    await watched.stop()


async def test_a_number_that_is_not_on_whatsapp_is_refused(bench: Bench) -> None:
    _, watched, _ = await link(bench)
    with pytest.raises(SendRefused) as raised:
        await watched.engine.send(text(bench.nobody))
    assert raised.value.code == "not_on_whatsapp"
    await watched.stop()


async def test_the_number_that_whatsapp_has_is_used_and_said(bench: Bench) -> None:
    _, watched, _ = await link(bench)
    assert (await watched.engine.send(text())).number == RECIPIENT
    for form in ("{}", "{}@s.whatsapp.net"):
        other = await watched.engine.send(text(form.format(bench.written_otherwise)))
        assert other.number == bench.as_whatsapp_writes
    hidden = await watched.engine.send(text(bench.hidden))
    assert hidden.number is None
    await watched.stop()


async def test_whatsapp_is_asked_once_about_a_number_before_the_first_message(
    real_bench: Bench,
) -> None:
    _, watched, _ = await link(real_bench)
    for _ in range(3):
        await watched.engine.send(text())
        with pytest.raises(SendRefused):
            await watched.engine.send(text(real_bench.nobody))
    assert real_bench.asked() == [RECIPIENT, real_bench.nobody]
    await watched.stop()


async def test_a_pairing_code_is_given_while_a_qr_is_shown(bench: Bench) -> None:
    watched = Watched(await bench.engines.start(SessionId(uuid4()), None))
    await watched.saw(QRShown)
    code = await watched.engine.pairing_code(NUMBER)
    assert len(code.pairing_code.replace("-", "")) == 8
    await bench.enter_code(code.pairing_code)
    await watched.saw(LoggedIn)
    await watched.stop()


async def test_a_stopped_engine_sends_nothing(bench: Bench) -> None:
    _, watched, _ = await link(bench)
    await watched.stop()
    with pytest.raises(NotSent):
        await watched.engine.send(text())
    assert not any(isinstance(seen, EngineCrashed) for seen in watched.all)


async def test_past_its_deadline_an_engine_sends_nothing(bench: Bench) -> None:
    _, watched, _ = await link(bench)
    bench.engines.extend(time.monotonic() - 0.1)
    with pytest.raises((NotSent, OutcomeUnknown)):  # unknown: asked while its process was ending
        await watched.engine.send(text())
    with pytest.raises(NotSent):
        await watched.engine.send(text())
    await watched.stop()


async def test_logging_out_ends_the_link(bench: Bench) -> None:
    _, watched, _ = await link(bench)
    await watched.engine.log_out()
    with pytest.raises(NotSent):
        await watched.engine.send(text())
    await watched.stop()


async def arrived(bench: Bench, watched: Watched, data: bytes) -> MessageSeen:
    """A document that came with this content."""
    await bench.bring(watched.engine, data)
    seen = await watched.saw(MessageSeen)
    assert isinstance(seen, MessageSeen)
    return seen


async def test_media_that_arrived_is_downloaded_as_it_was_sent(
    bench: Bench, tmp_path: Path
) -> None:
    _, watched, _ = await link(bench)
    data = os.urandom(300_001)
    seen = await arrived(bench, watched, data)
    assert (seen.kind, seen.text, seen.is_group) == ("document", CAPTION, False)
    assert seen.sender_number is not None
    assert (seen.sender_lid or "").endswith("@lid")
    assert seen.media is not None
    assert (seen.media.file_name, seen.media.mime_type) == (FILE_NAME, "application/pdf")
    assert seen.media.size == len(data)
    for name in ("once", "again"):
        await watched.engine.download(seen.media, tmp_path / name)
        assert (tmp_path / name).read_bytes() == data
    await watched.stop()


async def test_media_that_whatsapp_keeps_no_more_is_gone(bench: Bench, tmp_path: Path) -> None:
    _, watched, _ = await link(bench)
    seen = await arrived(bench, watched, b"soon gone")
    bench.forget_media()
    assert seen.media is not None
    with pytest.raises(DownloadFailed) as raised:
        await watched.engine.download(seen.media, tmp_path / "gone")
    assert raised.value.code == "media_gone"
    await watched.stop()


async def test_a_stopped_engine_downloads_nothing(bench: Bench, tmp_path: Path) -> None:
    _, watched, _ = await link(bench)
    seen = await arrived(bench, watched, b"too late")
    await watched.stop()
    assert seen.media is not None
    with pytest.raises(DownloadFailed) as raised:
        await watched.engine.download(seen.media, tmp_path / "late")
    assert raised.value.code == "media_unavailable"


@pytest.fixture
async def real_bench(tmp_path: Path) -> AsyncIterator[Bench]:
    """The real engine alone."""
    async with real(tmp_path) as made:
        yield made


def worker(watched: Watched) -> WorkerEngine:
    """The real engine's host side."""
    assert isinstance(watched.engine, WorkerEngine)
    return watched.engine


async def test_a_dropped_connection_comes_back_by_itself(real_bench: Bench) -> None:
    _, watched, _ = await link(real_bench)
    await real_bench.drop()
    await watched.saw(ConnectionLost)
    await eventually(
        lambda: sum(isinstance(seen, LoggedIn) for seen in watched.all) == 2,
        what="a second login",
    )
    await watched.stop()


async def test_a_killed_worker_is_a_crash_and_the_next_one_logs_in(real_bench: Bench) -> None:
    session_id, watched, device = await link(real_bench)
    os.kill(worker(watched).pid or 0, signal.SIGKILL)
    await watched.saw(EngineCrashed)
    await watched.stop()
    again = Watched(await real_bench.engines.start(session_id, device))
    await again.saw(LoggedIn)
    await again.stop()


async def test_a_worker_ends_by_itself_at_its_deadline(real_bench: Bench) -> None:
    _, watched, _ = await link(real_bench)
    real_bench.engines.extend(time.monotonic() + 0.3)
    await watched.saw(EngineCrashed)
    with pytest.raises(NotSent):
        await watched.engine.send(text())
    await watched.stop()


async def test_a_worker_that_does_not_answer_is_a_crash(
    real_bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_engine, "SILENT_SECONDS", 0.5)
    _, watched, _ = await link(real_bench)
    pid = worker(watched).pid or 0
    os.kill(pid, signal.SIGSTOP)

    def crashed() -> EngineCrashed | None:
        real_bench.engines.extend(time.monotonic() + 120)  # as a host does with each renewal
        return next((one for one in watched.all if isinstance(one, EngineCrashed)), None)

    crash = await eventually(crashed, what="the frozen worker is missed")
    assert crash is not None
    assert crash.reason == "engine_silent"
    assert not running(pid)
    await watched.stop()


async def test_a_worker_that_answers_is_left_alone(
    real_bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_engine, "SILENT_SECONDS", 0.5)
    _, watched, _ = await link(real_bench)
    loop = asyncio.get_running_loop()
    until = loop.time() + 1.5

    def renewed() -> bool:
        real_bench.engines.extend(time.monotonic() + 120)
        return loop.time() > until

    await eventually(renewed, what="renewed for longer than a silent worker lives")
    assert not watched.ended
    assert (await watched.engine.send(text())).message_id
    await watched.stop()


async def test_starts_are_paced_and_the_first_waits_for_nobody() -> None:
    async with asyncio.timeout(1):
        await ForkRate(per_second=0.1).wait_turn()
    pace = ForkRate(per_second=50)
    clock = asyncio.get_running_loop().time
    began = clock()
    await asyncio.gather(*(pace.wait_turn() for _ in range(11)))
    assert clock() - began >= 0.19


async def test_a_frozen_worker_is_killed_when_it_should_stop(real_bench: Bench) -> None:
    _, watched, _ = await link(real_bench)
    pid = worker(watched).pid or 0
    os.kill(pid, signal.SIGSTOP)
    await watched.stop()
    await eventually(lambda: not running(pid), what="the frozen worker is gone")


async def test_workers_and_fork_server_end_with_their_host(real_bench: Bench) -> None:
    _, watched, _ = await link(real_bench)
    pid = worker(watched).pid or 0
    assert running(pid)
    await watched.stop()
    await eventually(lambda: not running(pid), what="the worker is gone")


def running(pid: int) -> bool:
    """Whether a process runs (a zombie does not)."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


async def test_a_media_file_that_is_gone_fails_its_message_alone(
    real_bench: Bench, tmp_path: Path
) -> None:
    _, watched, _ = await link(real_bench)
    gone = MediaFile(tmp_path / "gone.pdf", "application/pdf", None)
    async with asyncio.timeout(60):  # an unanswered call lasts 80 s
        with pytest.raises(SendRefused, match="cannot be read") as raised:
            await watched.engine.send(OutgoingMessage(RECIPIENT, MessageType.DOCUMENT, None, gone))
    assert raised.value.code == "media_unavailable"
    text = OutgoingMessage(RECIPIENT, MessageType.TEXT, "Still here.", None)
    assert (await watched.engine.send(text)).message_id
    await watched.stop()


async def test_forked_decoders_convert_files(tmp_path: Path) -> None:
    engines = WorkerEngines(f"sqlite://{tmp_path}", starts_per_second=20)
    converter = Converter(engines.start_decoder, spool=tmp_path, max_bytes=1_000_000)
    (tmp_path / "a.png").write_bytes(png())
    tone = ffmpeg(tmp_path / "a.wav", *TONE)
    try:
        async with converter.converted(MessageType.IMAGE, tmp_path / "a.png", None) as picture:
            assert picture.details is not None
            assert (picture.details.width, picture.details.height) == (40, 30)
        async with converter.converted(MessageType.VOICE, tone, None) as voice:
            assert voice.path.read_bytes().startswith(b"OggS")
    finally:
        await engines.close()
