"""What arrives is recorded once, and changes of messages only by those who may make them."""

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from hashlib import sha256
from types import SimpleNamespace
from typing import Any, cast
from uuid import UUID

import pytest
from prometheus_client import CollectorRegistry

from wa_contracts.call_events import CallEnded, CallReceived
from wa_contracts.content import Poll
from wa_contracts.ids import MessageId, SessionId
from wa_contracts.internal.commands import MessageType
from wa_contracts.internal.questions import Answer, Group, Participant
from wa_contracts.message_events import (
    MessageEdited,
    MessageReceived,
    MessageRevoked,
    MessageSent,
    MessageVoted,
)
from wa_contracts.session_events import Event, SessionUpdated
from wa_contracts.session_options import Receive
from wa_session_host.domain.observations import (
    CallSeen,
    ChangeSeen,
    MessageDetails,
    MessageSeen,
)
from wa_session_host.engine.port import AskFailed
from wa_session_host.metrics import HostMetrics
from wa_session_host.sessions.incoming import Incoming
from wa_session_host.store.stored_event import Append, VersionConflict

AT = datetime(2026, 3, 1, tzinfo=UTC)
GROUP = "120363000000000001@g.us"
SEEN = MessageSeen(
    message_id="3A01",
    chat=GROUP,
    sender="1@lid",
    sender_number="15550001",
    sender_lid="1@lid",
    kind="text",
    text="hello",
    media=None,
    quoted_message_id=None,
    is_group=True,
    at=AT,
    details=MessageDetails(chat_kind="group"),
)
CHANGE = ChangeSeen(
    change="edited",
    stanza_id="3A02",
    of="3A01",
    of_own=False,
    chat=GROUP,
    sender="1@lid",
    sender_number=None,
    sender_lid=None,
    sender_name=None,
    is_own=False,
    text="changed",
    at=AT,
)
SENT = MessageSent(
    id=MessageId(UUID(int=7)), message_id="3EB0", to="1", type=MessageType.TEXT, sent_at=AT
)
CALL = CallSeen("C1", "1@lid", "15550001", "1@lid", False, None, True, False, AT)


@dataclass
class Bench:
    """One session's arrivals on a store in memory; the group's admin is 9@lid."""

    own: dict[str, MessageId] = field(default_factory=dict)
    streams: dict[str, list[Event]] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)
    whatsapp_answers: bool = True

    def __post_init__(self) -> None:
        metrics = HostMetrics(CollectorRegistry())
        context = SimpleNamespace(store=self, writer=self, metrics=metrics, incoming_media=None)
        self.incoming = Incoming(SessionId(UUID(int=1)), 1, cast("Any", context), cast("Any", self))

    async def message_of(self, _: SessionId, whatsapp_id: str) -> MessageId | None:
        """What the session sent."""
        return self.own.get(whatsapp_id)

    async def stream(self, name: str) -> list[Any]:
        """Stored events."""
        return [
            SimpleNamespace(event=one, type=one.TYPE, content=None)
            for one in self.streams.get(name, [])
        ]

    async def append(self, append: Append) -> None:
        """Store them, in the order of their versions."""
        stream = self.streams.setdefault(append.stream, [])
        if len(stream) != append.expected_version:
            raise VersionConflict(append.stream)
        stream += append.events
        self.events += append.events

    async def ask(self, _: object) -> Answer:
        """The group."""
        if not self.whatsapp_answers:
            raise AskFailed("whatsapp_unavailable", "No answer.")
        admin = Participant(jid="9@lid", phone_number="15550009", lid="9@lid", is_admin=True)
        member = Participant(jid="1@lid", phone_number="15550001", lid="1@lid", is_admin=False)
        group = Group(
            jid=GROUP,
            subject="A group",
            participant_count=2,
            is_announcement=False,
            can_send=True,
            participants=(admin, member),
        )
        return Answer(groups=(group,))

    async def sees(self, *seen: MessageSeen | ChangeSeen | CallSeen) -> list[type[Event]]:
        """What these make."""
        before = len(self.events)
        for one in seen:
            await self.incoming.record(one, SessionUpdated())
        return [type(one) for one in self.events[before:]]


BY_NUMBER = replace(CHANGE, sender="15550001@s.whatsapp.net")


@pytest.mark.parametrize(
    ("change", "becomes"),
    [
        (CHANGE, MessageEdited),
        (BY_NUMBER, MessageEdited),
        (replace(CHANGE, change="revoked"), MessageRevoked),
        (replace(CHANGE, sender="2@lid"), MessageReceived),
        (replace(CHANGE, sender="2@lid", change="revoked"), MessageReceived),
        (replace(CHANGE, sender="9@lid"), MessageReceived),
        (replace(CHANGE, sender="9@lid", change="revoked"), MessageRevoked),
        (replace(CHANGE, sender="2@lid", of="unknown"), MessageEdited),
    ],
    ids=[
        *("by its sender", "by number", "sender deletes", "another", "another deletes"),
        *("admin edits", "admin deletes", "of an unknown message"),
    ],
)
async def test_who_may_change_a_message_of_a_group(
    change: ChangeSeen, becomes: type[Event]
) -> None:
    bench = Bench()
    await bench.sees(SEEN)
    assert await bench.sees(change, change) == [becomes]
    if isinstance(told := bench.events[-1], MessageReceived):
        assert told.type == "unsupported"
        assert told.message_id == change.stanza_id


async def test_nobody_else_changes_what_the_session_or_its_owner_wrote() -> None:
    bench = Bench(own={"3EB0": MessageId(UUID(int=7))})
    bench.streams[f"message-{UUID(int=7)}"] = [SENT]
    chat = "1@lid"
    echo = replace(SEEN, is_own=True, chat=chat, is_group=False, sender="5@lid", sender_lid="5@lid")
    await bench.sees(echo)
    for of in ("3EB0", SEEN.message_id):
        for change in ("edited", "revoked"):
            stanza = f"{of} {change}"
            forged = replace(CHANGE, of=of, chat=chat, change=change, stanza_id=stanza)
            assert await bench.sees(forged) == [MessageReceived]
    own = replace(CHANGE, of="3EB0", chat=chat, of_own=True, is_own=True)
    assert await bench.sees(own) == [MessageEdited]


async def test_an_admin_that_whatsapp_does_not_confirm_deletes_nothing() -> None:
    bench = Bench(whatsapp_answers=False)
    await bench.sees(SEEN)
    revoke = replace(CHANGE, sender="9@lid", change="revoked")
    assert await bench.sees(revoke) == [MessageReceived]


async def test_what_could_not_be_decrypted_is_completed_once() -> None:
    bench, dark = Bench(), replace(SEEN, kind="undecryptable", text=None)
    assert await bench.sees(dark, dark, SEEN, SEEN, dark) == [MessageReceived] * 2
    first, second = (cast("MessageReceived", one) for one in bench.events)
    assert (first.type, second.type, second.text) == ("undecryptable", "text", "hello")
    assert first.id == second.id


async def test_what_could_not_be_decrypted_may_have_been_a_change() -> None:
    bench = Bench()
    dark = replace(SEEN, kind="undecryptable", text=None, message_id=CHANGE.stanza_id)
    assert await bench.sees(dark, CHANGE, CHANGE) == [MessageReceived, MessageEdited]


@pytest.mark.parametrize(
    ("hashes", "options"),
    [
        (("Mon", "Tue"), ("Mon", "Tue")),
        ((), ()),
        (("Never",), None),
        (None, None),
    ],
    ids=["two", "none", "unknown", "not decrypted"],
)
async def test_a_vote_names_the_options(
    hashes: tuple[str, ...] | None, options: tuple[str, ...] | None
) -> None:
    bench, poll = Bench(), Poll(question="When?", options=("Mon", "Tue"), selectable=2)
    await bench.sees(replace(SEEN, kind="poll", details=MessageDetails(poll=poll)))
    chosen = hashes and tuple(sha256(one.encode()).hexdigest() for one in hashes)
    vote = replace(CHANGE, change="voted", chosen=() if hashes == () else chosen)
    assert await bench.sees(vote) == [MessageVoted]
    assert cast("MessageVoted", bench.events[-1]).options == options


async def test_a_call_has_one_begin_and_one_end() -> None:
    bench, end = Bench(), replace(CALL, has_ended=True, reason="timeout")
    assert await bench.sees(CALL, CALL, end, end) == [CallReceived, CallEnded]
    missed = replace(end, call_id="C2")
    assert await bench.sees(missed, missed) == [CallEnded]


async def test_calls_that_the_session_does_not_receive_are_no_events() -> None:
    bench = Bench()
    await bench.incoming.record(CALL, SessionUpdated(receive=Receive(calls=False)))
    assert bench.events == []
