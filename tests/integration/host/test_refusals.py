"""What WhatsApp refuses, through the real engine: one message ends or waits, all others arrive."""

import asyncio
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import pytest

from tests.deadlines import eventually
from tests.unit.host.runner_bench import Bench, bench
from tests.whatsapp import StandIn, refusals
from wa_contracts.ids import SessionId
from wa_contracts.internal.commands import MessageType
from wa_session_host.domain.observations import ConnectionLost, LoggedIn, QRShown, Seen
from wa_session_host.engine.process.worker_engines import WorkerEngines

NUMBER = "919876543210"
GOOD, BAD, OTHER = "12345678900", "12345678901", "12345678902"
GROUP = "120363000000000001"


@dataclass
class Linked:
    """A session of the real engine, its queue, and WhatsApp."""

    bench: Bench
    whatsapp: StandIn
    seen: list[Seen]

    async def among_good_ones(self, to: str, kind: MessageType = MessageType.TEXT) -> None:
        """Queue a bad message between good ones, and see the good ones arrive in order."""
        for number, recipient in enumerate([GOOD, to, OTHER, GOOD]):
            self.bench.add(number, recipient, kind if recipient == to else MessageType.TEXT)
        await eventually(lambda: self.bench.sent()[-1:] == [3], what="the good ones are sent")
        assert [one for one in self.bench.sent() if one != 1] == [0, 2, 3]
        contact = self.whatsapp.contact(GOOD)
        assert [(await contact.receive()).text for _ in range(2)] == ["0", "3"]
        assert not any(isinstance(one, ConnectionLost) for one in self.seen)
        assert self.bench.deaf == []

    async def wait_aside(self, code: str) -> None:
        """The bad one waits for this reason."""
        await eventually(lambda: bool(self.bench.runner.set_aside), what="it is set aside")
        [waiting] = self.bench.runner.set_aside
        assert waiting.aside is not None
        assert waiting.aside.error.code == code

    async def goes_out(self) -> None:
        """The bad one is sent with the next try."""
        self.bench.pass_time()
        await eventually(lambda: self.bench.sent()[-1:] == [1], what="the next try is sent")
        assert len(self.bench.runner) == 0


@pytest.fixture
async def linked(tmp_path: Path) -> AsyncIterator[Linked]:
    """Linked and logged in."""
    async with _linked(tmp_path) as made:
        yield made


@asynccontextmanager
async def _linked(folder: Path) -> AsyncIterator[Linked]:
    document = folder / "a.pdf"
    document.write_bytes(b"%PDF-1.4 content")
    async with StandIn.start() as whatsapp:
        before = dict(os.environ)
        os.environ.update(whatsapp.engine_environment())
        engines = WorkerEngines(f"sqlite://{folder}", starts_per_second=20)
        try:
            engines.extend(time.monotonic() + 600)
            for number in (GOOD, BAD, OTHER):
                whatsapp.contact(number)
            engine = await engines.start(SessionId(UUID(int=1)), None)
            seen: list[Seen] = []

            async def observe() -> None:
                async for one in engine.observations():
                    seen.append(one)
                    if isinstance(one, QRShown):
                        await whatsapp.phone(NUMBER).scan(one.qr)

            observing = asyncio.create_task(observe())
            await eventually(lambda: any(isinstance(one, LoggedIn) for one in seen), what="login")
            seen.clear()
            async with bench(engine) as made:
                made.media.document = document
                yield Linked(made, whatsapp, seen)
            await engine.stop()
            observing.cancel()
        finally:
            await engines.close()
            os.environ.clear()
            os.environ.update(before)


async def test_refused_numbers_end_with_their_code(linked: Linked) -> None:
    linked.whatsapp.refusals.malformed.add(BAD)
    await linked.among_good_ones(BAD)
    assert linked.bench.codes() == {1: "invalid_recipient"}


@pytest.mark.parametrize("refusal", [refusals.BAD_REQUEST, refusals.NOT_ACCEPTABLE], ids=str)
async def test_a_number_query_that_is_refused_ends_its_message(
    linked: Linked, refusal: refusals.QueryRefusal
) -> None:
    linked.whatsapp.refusals.numbers[BAD] = refusal
    await linked.among_good_ones(BAD)
    assert linked.bench.codes() == {1: "invalid_recipient"}


@pytest.mark.parametrize(
    ("refusal", "code"),
    [
        (refusals.RATE_OVERLIMIT, "rate_limited_by_whatsapp"),
        (refusals.UNAVAILABLE, "whatsapp_unavailable"),
        (refusals.SILENCE, "whatsapp_unavailable"),
    ],
    ids=str,
)
async def test_a_number_query_that_is_put_off_sets_its_message_aside(
    linked: Linked, refusal: refusals.QueryRefusal, code: str
) -> None:
    linked.whatsapp.refusals.numbers[BAD] = refusal
    await linked.among_good_ones(BAD)
    await linked.wait_aside(code)
    linked.whatsapp.refusals.numbers.clear()
    await linked.goes_out()


@pytest.mark.parametrize(
    ("refusal", "code"),
    [
        (refusals.FORBIDDEN, "not_in_group"),
        (refusals.NOT_FOUND, "group_not_found"),
    ],
    ids=str,
)
async def test_a_group_that_is_refused_ends_its_message(
    linked: Linked, refusal: refusals.QueryRefusal, code: str
) -> None:
    linked.whatsapp.refusals.groups[GROUP] = refusal
    await linked.among_good_ones(f"{GROUP}@g.us")
    assert linked.bench.codes() == {1: code}


async def test_a_limited_group_query_sets_its_message_aside(linked: Linked) -> None:
    linked.whatsapp.refusals.groups[GROUP] = refusals.RATE_OVERLIMIT
    await linked.among_good_ones(f"{GROUP}@g.us")
    await linked.wait_aside("rate_limited_by_whatsapp")


async def test_an_announcement_group_ends_its_message(linked: Linked) -> None:
    linked.whatsapp.refusals.messages[GROUP] = refusals.ANNOUNCEMENT_GROUP
    await linked.among_good_ones(f"{GROUP}@g.us")
    assert linked.bench.codes() == {1: "group_send_forbidden"}


@pytest.mark.parametrize("status", [400, 413, 415])
async def test_a_file_that_is_refused_ends_its_message(linked: Linked, status: int) -> None:
    linked.whatsapp.refused_uploads.append(status)
    await linked.among_good_ones(BAD, MessageType.DOCUMENT)
    assert linked.bench.codes() == {1: "media_refused_by_whatsapp"}


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (429, "rate_limited_by_whatsapp"),
        (500, "whatsapp_unavailable"),
        (503, "whatsapp_unavailable"),
        (refusals.CUT_OFF, "whatsapp_unavailable"),
    ],
)
async def test_an_upload_that_fails_for_now_sets_its_message_aside(
    linked: Linked, status: int, code: str
) -> None:
    linked.whatsapp.refused_uploads.extend([status] * 2)  # the engine repeats a cut one itself
    await linked.among_good_ones(BAD, MessageType.DOCUMENT)
    await linked.wait_aside(code)
    linked.whatsapp.refused_uploads.clear()
    await linked.goes_out()


async def test_the_timelock_holds_new_chats_only(linked: Linked) -> None:
    linked.whatsapp.refusals.messages[BAD] = refusals.REACHOUT_TIMELOCK
    await linked.among_good_ones(BAD)
    await linked.wait_aside("reachout_timelock")
    linked.whatsapp.refusals.messages.clear()
    await linked.goes_out()


async def test_a_message_that_is_refused_ends_alone(linked: Linked) -> None:
    linked.whatsapp.refusals.messages[BAD] = 479
    await linked.among_good_ones(BAD)
    assert linked.bench.codes() == {1: "send_failed"}
