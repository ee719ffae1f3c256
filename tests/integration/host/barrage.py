"""Many messages of one session, of which a third meets every refusal there is."""

import itertools
import random
import time
from dataclasses import dataclass, field
from pathlib import Path

from tests.deadlines import eventually
from tests.integration.host.linked_session import Session
from tests.unit.host.runner_bench import Bench
from tests.whatsapp import StandIn, refusals
from wa_contracts.internal.commands import MessageType
from wa_contracts.internal.questions import CheckNumbers
from wa_session_host.engine.port import AskFailed

CHATS = 50
NUMBERS = itertools.count(15_550_000_001)
QUERY_SECONDS = 16
"""The engine gives a query up after 15 s."""
GROUPS = itertools.count(120_363_000_000_100_001)


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


@dataclass
class Fired:
    """The recipient of each message, what it should end as, and the good ones among them."""

    to: dict[int, str] = field(default_factory=dict)
    expected: dict[int, str] = field(default_factory=dict)
    good: set[int] = field(default_factory=set)
    seconds: float = 0.0
    """Until every message had ended, or waited with its chat."""


async def fire(
    session: Session, made: Bench, document: Path, messages: int, *, refused: bool = True
) -> Fired:
    """Queue the messages, and wait until all have ended. Without `refused` only the good ones."""
    barrage, chance, fired = Barrage(session.whatsapp), random.Random(1), Fired()
    good = [barrage.contact() for _ in range(CHATS)]
    barrage.refuse()
    document.write_bytes(b"%PDF-1.4 content")
    made.media.document = document
    bad = itertools.cycle([*barrage.ends, "upload"])
    uploads = itertools.cycle([400, 413, 415])
    began = time.monotonic()
    for number in range(messages):
        is_bad = number % 3 == 2
        recipient = next(bad) if is_bad else chance.choice(good)
        if is_bad and not refused:
            continue
        if recipient == "upload":
            recipient, end = chance.choice(good), "media_refused_by_whatsapp"
            session.whatsapp.refused_uploads.append(next(uploads))
            made.add(number, recipient, MessageType.DOCUMENT)
        else:
            end = barrage.ends.get(recipient, "sent")
            made.add(number, recipient)
        fired.to[number], fired.expected[number] = recipient, end
        if not is_bad:
            fired.good.add(number)
    await settled(made, fired.to, messages)
    fired.seconds = time.monotonic() - began
    barrage.relent()

    async def queries_go_on() -> bool:
        try:
            await session.engine.ask(CheckNumbers(numbers=(good[0],)))
        except AskFailed:
            return False
        return (
            time.monotonic() > began + fired.seconds + QUERY_SECONDS if refused else True
        )  # the one without an answer is over

    await eventually(queries_go_on, what="the pause of queries is over")
    while len(made.runner):
        made.pass_time()
        await settled(made, fired.to, messages)
    return fired


async def settled(made: Bench, to: dict[int, str], messages: int) -> None:
    """Wait until every message has ended, or waits with its chat."""

    def all_wait() -> bool:
        asides = [(one.facts.to, one.aside) for one in made.runner.set_aside]
        held = {chat for chat, aside in asides if aside is not None and aside.until > made.now[0]}
        ended = {number for number, _ in made.writer.ends()}
        return all(number in ended or recipient in held for number, recipient in to.items())

    await eventually(all_wait, within=120 + messages, what="all have ended or wait", every=0.5)
