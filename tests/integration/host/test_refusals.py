"""What WhatsApp refuses, through the real engine: one message ends or waits, all others arrive."""

import itertools
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.deadlines import eventually
from tests.integration.host.linked_session import Session, linked_session
from tests.unit.host.runner_bench import Bench, bench
from tests.whatsapp import StandIn, refusals
from wa_contracts.internal.commands import MessageType
from wa_session_host.domain.observations import (
    ConnectionLost,
    ReachoutLocked,
    ReachoutOpen,
    Seen,
)

NUMBER = "919876543210"
NUMBERS = itertools.count(12_345_678_900)
GROUPS = itertools.count(120_363_000_000_000_001)


@dataclass
class Linked:
    """A session of the real engine, its queue, and WhatsApp."""

    bench: Bench
    whatsapp: StandIn
    seen: list[Seen]
    good: str
    bad: str
    other: str
    group: str

    async def among_good_ones(self, to: str, kind: MessageType = MessageType.TEXT) -> None:
        """Queue a bad message between good ones, and see the good ones arrive in order."""
        for number, recipient in enumerate([self.good, to, self.other, self.good]):
            self.bench.add(number, recipient, kind if recipient == to else MessageType.TEXT)
        await eventually(lambda: self.bench.sent()[-1:] == [3], what="the good ones are sent")
        assert [one for one in self.bench.sent() if one != 1] == [0, 2, 3]
        contact = self.whatsapp.contact(self.good)
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

        def is_sent() -> bool:
            self.bench.pass_time()
            return self.bench.sent()[-1:] == [1]

        await eventually(is_sent, what="a later try is sent", every=4)  # a query may be under way
        assert len(self.bench.runner) == 0


@pytest.fixture(scope="module")
async def session(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Session]:
    """One for all tests."""
    async with linked_session(tmp_path_factory.mktemp("store"), NUMBER) as made:
        yield made


@pytest.fixture
async def linked(session: Session, tmp_path: Path) -> AsyncIterator[Linked]:
    """Its queue, with contacts that it has never written to."""
    document = tmp_path / "a.pdf"
    document.write_bytes(b"%PDF-1.4 content")
    good, bad, other = (str(next(NUMBERS)) for _ in range(3))
    for number in (good, bad, other):
        session.whatsapp.contact(number)
    session.seen.clear()
    async with bench(session.engine) as made:
        made.media.document = document
        group = str(next(GROUPS))
        yield Linked(made, session.whatsapp, session.seen, good, bad, other, group)


async def test_refused_numbers_end_with_their_code(linked: Linked) -> None:
    linked.whatsapp.refusals.malformed.add(linked.bad)
    await linked.among_good_ones(linked.bad)
    assert linked.bench.codes() == {1: "invalid_recipient"}


@pytest.mark.parametrize("refusal", [refusals.BAD_REQUEST, refusals.NOT_ACCEPTABLE], ids=str)
async def test_a_number_query_that_is_refused_ends_its_message(
    linked: Linked, refusal: refusals.QueryRefusal
) -> None:
    linked.whatsapp.refusals.numbers[linked.bad] = refusal
    await linked.among_good_ones(linked.bad)
    assert linked.bench.codes() == {1: "invalid_recipient"}


@pytest.mark.parametrize(
    ("refusal", "code"),
    [
        (refusals.UNAVAILABLE, "whatsapp_unavailable"),
        (refusals.SILENCE, "whatsapp_unavailable"),
    ],
    ids=str,
)
async def test_a_number_query_that_is_put_off_sets_its_message_aside(
    linked: Linked, refusal: refusals.QueryRefusal, code: str
) -> None:
    linked.whatsapp.refusals.numbers[linked.bad] = refusal
    await linked.among_good_ones(linked.bad)
    await linked.wait_aside(code)
    linked.whatsapp.refusals.numbers.clear()
    await linked.goes_out()


async def test_a_limited_number_query_pauses_queries_and_no_known_chat(linked: Linked) -> None:
    bench, whatsapp = linked.bench, linked.whatsapp
    bench.add(0, linked.good)
    await eventually(lambda: bench.sent() == [0], what="a chat is known")
    whatsapp.refusals.numbers[linked.bad] = refusals.RATE_OVERLIMIT
    for number, to in enumerate([linked.bad, linked.other, linked.good, linked.bad], start=1):
        bench.add(number, to)
    await eventually(lambda: bench.sent() == [0, 3], what="the known chat goes on")
    await eventually(lambda: len(bench.runner.set_aside) == 2, what="first messages wait")
    codes = {one.aside.error.code for one in bench.runner.set_aside if one.aside is not None}
    assert codes == {"rate_limited_by_whatsapp"}
    assert linked.other not in whatsapp.numbers_asked_about
    assert not any(isinstance(one, ConnectionLost) for one in linked.seen)
    whatsapp.refusals.numbers.clear()

    def all_are_sent() -> bool:
        bench.pass_time()
        return len(bench.runner) == 0

    await eventually(all_are_sent, what="the pause is over", every=1.0)
    assert sorted(bench.sent()) == [0, 1, 2, 3, 4]
    assert bench.sent().index(1) < bench.sent().index(4)


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
    linked.whatsapp.refusals.groups[linked.group] = refusal
    await linked.among_good_ones(f"{linked.group}@g.us")
    assert linked.bench.codes() == {1: code}


async def test_a_limited_group_query_sets_its_message_aside(linked: Linked) -> None:
    linked.whatsapp.refusals.groups[linked.group] = refusals.RATE_OVERLIMIT
    await linked.among_good_ones(f"{linked.group}@g.us")
    await linked.wait_aside("rate_limited_by_whatsapp")


async def test_an_announcement_group_ends_its_message(linked: Linked) -> None:
    linked.whatsapp.refusals.messages[linked.group] = refusals.ANNOUNCEMENT_GROUP
    await linked.among_good_ones(f"{linked.group}@g.us")
    assert linked.bench.codes() == {1: "group_send_forbidden"}


@pytest.mark.parametrize("status", [400, 413, 415])
async def test_a_file_that_is_refused_ends_its_message(linked: Linked, status: int) -> None:
    linked.whatsapp.refused_uploads.append(status)
    await linked.among_good_ones(linked.bad, MessageType.DOCUMENT)
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
    await linked.among_good_ones(linked.bad, MessageType.DOCUMENT)
    await linked.wait_aside(code)
    linked.whatsapp.refused_uploads.clear()
    await linked.goes_out()


async def test_the_timelock_holds_new_chats_only(linked: Linked) -> None:
    bench, whatsapp = linked.bench, linked.whatsapp
    bench.add(0, linked.good)
    await eventually(lambda: bench.sent() == [0], what="a chat is known")
    bench.known.add(linked.good)
    whatsapp.refusals.opens_no_chats = True
    for number, to in enumerate([linked.bad, linked.other, linked.good], start=1):
        bench.add(number, to)
    await eventually(lambda: bench.sent() == [0, 3], what="the known chat goes on")
    assert bench.reachout == [ReachoutLocked()]
    assert {one.queued_position for one in bench.runner.set_aside} == {1, 2}
    assert whatsapp.numbers_asked_about.count(linked.other) == 0
    whatsapp.refusals.opens_no_chats = False
    bench.pass_time()
    await eventually(lambda: len(bench.runner) == 0, what="a first message passes")
    assert sorted(bench.sent()) == [0, 1, 2, 3]
    assert bench.reachout == [ReachoutLocked(), ReachoutOpen()]
    assert bench.deaf == []


async def test_a_number_that_exists_without_an_address_waits(linked: Linked) -> None:
    linked.whatsapp.refusals.without_address.add(linked.bad)
    await linked.among_good_ones(linked.bad)
    await linked.wait_aside("whatsapp_unavailable")
    linked.whatsapp.refusals.without_address.clear()
    await linked.goes_out()


async def test_a_number_and_its_lid_are_one_chat(linked: Linked) -> None:
    bench, whatsapp = linked.bench, linked.whatsapp
    contact = whatsapp.contact(linked.bad)
    whatsapp.refusals.messages[linked.bad] = 429
    for number, to in enumerate([linked.bad, f"{contact.lid}@lid", linked.good, linked.bad]):
        bench.add(number, to)
    await eventually(lambda: bench.sent() == [2], what="the other chat is served")
    assert len(bench.runner.set_aside) == 1
    whatsapp.refusals.messages.clear()
    bench.pass_time()
    await eventually(lambda: bench.sent() == [2, 0, 1, 3], what="the chat goes on in order")
    assert [(await contact.receive()).text for _ in range(3)] == ["0", "1", "3"]


async def test_a_message_that_is_refused_ends_alone(linked: Linked) -> None:
    linked.whatsapp.refusals.messages[linked.bad] = 479
    await linked.among_good_ones(linked.bad)
    assert linked.bench.codes() == {1: "send_failed"}


@pytest.mark.parametrize("refusal", [refusals.NOT_FOUND, refusals.UNAVAILABLE], ids=str)
async def test_a_message_whose_phone_has_no_keys_is_not_sent(
    linked: Linked, refusal: refusals.QueryRefusal
) -> None:
    """The engine calls it a success: only the own phone got it."""
    linked.whatsapp.refusals.keys[linked.bad] = refusal
    await linked.among_good_ones(linked.bad)
    assert linked.bench.codes() == {1: "send_failed"}
    linked.whatsapp.refusals.keys.clear()


async def test_a_message_whose_phone_is_left_out_of_the_keys_is_not_sent(linked: Linked) -> None:
    linked.whatsapp.refusals.keyless.add(linked.bad)
    await linked.among_good_ones(linked.bad)
    assert linked.bench.codes() == {1: "send_failed"}
