"""A third of many messages meets every refusal there is: all others arrive, in order per chat.

`BARRAGE_MESSAGES=1000` sends more than the suite does. An account's own restriction (463) is no
refusal of one message: see `test_refusals.py`.
"""

import itertools
import os
import random
from collections import defaultdict
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.deadlines import eventually
from tests.integration.host.linked_session import Session, linked_session
from tests.unit.host.runner_bench import Bench, bench
from tests.whatsapp import StandIn, refusals
from wa_contracts.internal.commands import MessageType
from wa_contracts.internal.questions import CheckNumbers
from wa_session_host.domain.observations import ConnectionLost, EngineEnding
from wa_session_host.engine.port import AskFailed

MESSAGES = int(os.environ.get("BARRAGE_MESSAGES", "150"))
CHATS = 50
SECONDS = 120 + MESSAGES
NUMBER = "919876543211"
NUMBERS = itertools.count(15_550_000_001)
GROUPS = itertools.count(120_363_000_000_100_001)


pytestmark = pytest.mark.timeout(SECONDS * 2)


@pytest.fixture
async def session(tmp_path: Path) -> AsyncIterator[Session]:
    """A session of its own."""
    async with linked_session(tmp_path, NUMBER) as made:
        yield made


@dataclass
class Barrage:
    """The recipients, and what each message to them ends as."""

    whatsapp: StandIn
    ends: dict[str, str] = field(default_factory=dict)
    """By recipient: a code, or `sent` where WhatsApp changes its mind."""

    def contact(self) -> str:
        """Somebody who is on WhatsApp."""
        number = str(next(NUMBERS))
        self.whatsapp.contact(number)
        return number

    def refuse(self) -> None:
        """Every refusal of a number, its keys, a group and a message, each with its recipient."""
        refused = self.whatsapp.refusals
        self.ends[str(next(NUMBERS))] = "not_on_whatsapp"
        refused.malformed.add(number := self.contact())
        self.ends[number] = "invalid_recipient"
        for query, end in (
            (refusals.BAD_REQUEST, "invalid_recipient"),
            (refusals.NOT_ACCEPTABLE, "invalid_recipient"),
            (refusals.UNAVAILABLE, "sent"),
            (refusals.SILENCE, "sent"),
        ):
            refused.numbers[number := self.contact()] = query
            self.ends[number] = end
        refused.without_address.add(number := self.contact())
        self.ends[number] = "sent"
        for keys in (refusals.NOT_FOUND, refusals.UNAVAILABLE):
            refused.keys[number := self.contact()] = keys
            self.ends[number] = "send_failed"
        refused.keyless.add(number := self.contact())
        self.ends[number] = "send_failed"
        for query, end in (
            (refusals.FORBIDDEN, "not_in_group"),
            (refusals.NOT_FOUND, "group_not_found"),
            (refusals.RATE_OVERLIMIT, "sent"),
            (refusals.UNAVAILABLE, "sent"),
        ):
            refused.groups[group := str(next(GROUPS))] = query
            self.ends[f"{group}@g.us"] = end
        refused.messages[group := str(next(GROUPS))] = refusals.ANNOUNCEMENT_GROUP
        self.ends[f"{group}@g.us"] = "group_send_forbidden"
        for error, end in ((479, "send_failed"), (429, "sent"), (503, "sent")):
            refused.messages[number := self.contact()] = error
            self.ends[number] = end
        # Last, so that all others are met before queries pause.
        refused.numbers[number := self.contact()] = refusals.RATE_OVERLIMIT
        self.ends[number] = "sent"

    def relent(self) -> None:
        """WhatsApp takes what it put off."""
        refused = self.whatsapp.refusals
        refused.without_address.clear()
        for number, end in self.ends.items():
            if end == "sent":
                for kind in (refused.numbers, refused.groups, refused.messages):
                    kind.pop(number.partition("@")[0], None)


async def test_a_barrage_of_refusals(session: Session, tmp_path: Path) -> None:
    barrage, chance = Barrage(session.whatsapp), random.Random(1)
    good = [barrage.contact() for _ in range(CHATS)]
    barrage.refuse()
    document = tmp_path / "a.pdf"
    document.write_bytes(b"%PDF-1.4 content")
    bad = itertools.cycle([*barrage.ends, "upload"])
    uploads = itertools.cycle([400, 413, 415])
    to: dict[int, str] = {}
    expected: dict[int, str] = {}
    async with bench(session.engine) as made:
        made.media.document = document
        session.seen.clear()
        for number in range(MESSAGES):
            recipient = next(bad) if number % 3 == 2 else chance.choice(good)
            if recipient == "upload":
                to[number], expected[number] = chance.choice(good), "media_refused_by_whatsapp"
                session.whatsapp.refused_uploads.append(next(uploads))
                made.add(number, to[number], MessageType.DOCUMENT)
            else:
                to[number], expected[number] = recipient, barrage.ends.get(recipient, "sent")
                made.add(number, recipient)
        await settled(made, to)
        barrage.relent()

        async def queries_go_on() -> bool:
            try:
                await session.engine.ask(CheckNumbers(numbers=(good[0],)))
            except AskFailed:
                return False
            return True

        await eventually(queries_go_on, what="the pause of queries is over")
        while len(made.runner):
            made.pass_time()
            await settled(made, to)
        sent = dict.fromkeys(made.sent(), "sent")
        assert made.codes() | sent == expected
        assert (made.deaf, made.reachout) == ([], [])
    assert not [one for one in session.seen if isinstance(one, ConnectionLost | EngineEnding)]
    in_order: dict[str, list[str]] = defaultdict(list)
    for number, end in expected.items():
        if end == "sent":
            in_order[to[number]].append(str(number))
    for recipient, texts in in_order.items():
        if "@" not in recipient:
            inbox = session.whatsapp.contact(recipient).inbox
            assert [one.text for one in inbox] == texts, recipient


async def settled(made: Bench, to: dict[int, str]) -> None:
    """Wait until every message has ended, or waits with its chat."""

    def all_wait() -> bool:
        asides = [(one.facts.to, one.aside) for one in made.runner.set_aside]
        held = {chat for chat, aside in asides if aside is not None and aside.until > made.now[0]}
        ended = {number for number, _ in made.writer.ends()}
        return all(number in ended or recipient in held for number, recipient in to.items())

    await eventually(all_wait, within=SECONDS, what="all have ended or wait", every=0.5)
