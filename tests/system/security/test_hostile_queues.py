"""Malformed, too new and too large messages on every queue: dead letters with a cause, no harm done."""

import json
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import aio_pika
import pytest

from tests.deadlines import eventually
from tests.system.conftest import NewRing
from tests.system.ring import Ring
from wa_contracts.codec import COMMAND_LIMIT, EVENT_LIMIT, encode
from wa_contracts.envelope import Envelope
from wa_contracts.ids import EventId, SessionId, session_stream
from wa_contracts.internal.bundle import BUNDLE, frame_bundle
from wa_contracts.session_events import Event, SessionCreated, SessionStarting, SessionStopped
from wa_contracts.topology import (
    COMMANDS,
    DEAD_LETTERS,
    PROJECTOR,
    QUEUES,
    command_key,
    partition_of,
)

TO = "919876543210"
NOW, LATER = "2026-01-02T03:04:05Z", "2100-01-01T00:00:00Z"


@pytest.fixture(scope="module")
async def ring(new_ring: NewRing) -> Ring:
    """One ring for the module."""
    return await new_ring(environment={"SIMULATED_LINKS_AFTER": "0.1"})


@pytest.fixture(scope="module")
async def session(ring: Ring) -> dict[str, Any]:
    """A session that works, before and after."""
    session = await ring.create_session("neighbour")
    await ring.wait_for_status(session["sessionId"], "working")
    return session


async def publish(ring: Ring, exchange: str, key: str, body: bytes, **properties: Any) -> None:
    """Straight to the broker, past the api."""
    async with await aio_pika.connect(ring.broker) as connection:
        channel = await connection.channel()
        target = channel.default_exchange
        if exchange:
            target = await channel.get_exchange(exchange, ensure=False)
        await target.publish(aio_pika.Message(body, **properties), key, mandatory=True)


async def letter_of(ring: Ring, kind: str) -> dict[str, Any]:
    """The dead letter with that AMQP type."""

    async def found() -> list[dict[str, Any]]:
        items = (await ring.admin.get("/api/dead-letters?limit=200")).json()["items"]
        return [one for one in items if one["type"] == kind]

    (letter,) = await eventually(found, what=f"a dead letter {kind}")
    assert isinstance(letter, dict)
    return letter


async def still_sends(ring: Ring, session: dict[str, Any]) -> None:
    """The neighbour sends, and what became of it is shown."""
    answer = await ring.send(session["token"], to=TO, type="text", message="a neighbour")
    assert answer.status_code == 200, answer.text
    await ring.wait_for_message(answer.json()["id"], ["sent", "delivered"])


def command(session_id: str, **changed: Any) -> bytes:
    """A command to stop that is good but for what is changed; None leaves a field out."""
    fields = {
        "type": "StopSession",
        "id": str(uuid4()),
        "sessionId": session_id,
        "correlationId": str(uuid4()),
        "issuedAt": NOW,
        "expiresAt": LATER,
        **changed,
    }
    return json.dumps({k: v for k, v in fields.items() if v is not None}).encode()


REPLAY = {"type": "ReplaySession", "queue": "q", "fromSequence": 1}
SEND = {
    "type": "SendMessage",
    "messageId": str(uuid4()),
    "to": TO,
    "messageType": "text",
    "text": "x",
    "fingerprint": "f",
}
COMMAND_CASES: list[tuple[str, dict[str, Any] | bytes, str]] = [
    ("nothing", b"", "Invalid JSON"),
    ("no JSON", b"\xff\xfe", "Invalid JSON"),
    ("a list", b"[]", "body"),
    ("deep", b"[" * 100_000, "recursion limit"),
    ("unknown", {"type": "ReadMinds"}, "type"),
    ("incomplete", {"correlationId": None}, "correlationId"),
    ("large", {**SEND, "text": "x" * COMMAND_LIMIT}, "more than"),
    ("no time", {"expiresAt": "0000-01-01T00:00:00Z"}, "valid datetime"),
    ("another zone", {"expiresAt": "0001-01-01T00:00:00+14:00"}, "offset of 0"),
    ("astronomical", {**REPLAY, "fromSequence": 2**80}, "fromSequence"),
    ("no queue's name", {**REPLAY, "queue": "q" * 300}, "too long"),
    ("no key", {"replyTo": "é" * 200}, "too long"),
    ("no recipient", {**SEND, "to": "everybody"}, "'to'"),
]


@pytest.mark.parametrize(
    ("change", "cause"), [c[1:] for c in COMMAND_CASES], ids=[c[0] for c in COMMAND_CASES]
)
async def test_commands(
    ring: Ring, session: dict[str, Any], change: dict[str, Any] | bytes, cause: str
) -> None:
    session_id = session["sessionId"]
    partition = partition_of(SessionId(UUID(session_id)))
    body = change if isinstance(change, bytes) else command(session_id, **change)
    kind = f"test.{uuid4()}"
    await publish(ring, COMMANDS, command_key(partition), body, type=kind)
    letter = await letter_of(ring, kind)
    assert letter["queue"] == f"{COMMANDS}.p{partition}"
    assert (letter["reason"], letter["size"]) == ("rejected", len(body))
    assert cause in letter["cause"], letter
    assert "everybody" not in letter["cause"]
    await still_sends(ring, session)


def event(session_id: UUID, sequence: int, data: Event) -> dict[str, Any]:
    """An event of a session that no host has, as JSON."""
    envelope = Envelope(
        id=EventId(uuid4()),
        type=data.TYPE,
        version=data.VERSION,
        session_id=SessionId(session_id),
        session_sequence=sequence,
        stream=session_stream(SessionId(session_id)),
        stream_version=sequence,
        occurred_at=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
        correlation_id=uuid4(),
        causation_id=uuid4(),
        data=data,
    )
    made: dict[str, Any] = json.loads(encode(envelope))
    return made


EVENT_CASES: list[tuple[str, dict[str, Any], str]] = [
    ("newer", {"version": 2}, "version"),
    ("unknown", {"type": "session.dreamt"}, "session.dreamt"),
    ("no name", {"type": []}, "type or version"),
    ("odd version", {"version": "1"}, "type or version"),
    ("no data", {"data": None}, "not an event envelope"),
    ("no time", {"occurredAt": "0000-01-01T00:00:00Z"}, "valid datetime"),
    ("another zone", {"occurredAt": "0001-01-01T00:00:00+14:00"}, "offset of 0"),
    ("astronomical", {"streamVersion": 2**80}, "streamVersion"),
    ("large", {"more": "x" * EVENT_LIMIT}, "more than"),
]


@pytest.mark.parametrize(
    ("change", "cause"), [c[1:] for c in EVENT_CASES], ids=[c[0] for c in EVENT_CASES]
)
async def test_events_are_passed_over_in_their_sessions_order(
    ring: Ring, session: dict[str, Any], change: dict[str, Any], cause: str
) -> None:
    lost = uuid4()
    before, bad, after = (
        event(lost, 1, SessionCreated(name="injected")),
        event(lost, 2, SessionStarting(reason="created")) | change,
        event(lost, 3, SessionStopped()),
    )
    kind = f"test.{uuid4()}"
    for one in (before, bad, after):
        await publish(ring, "", PROJECTOR, json.dumps(one).encode(), type=kind)
    letter = await letter_of(ring, kind)
    assert (letter["queue"], letter["reason"]) == (PROJECTOR, "rejected")
    assert cause in letter["cause"], letter
    if "more" not in change:  # of what is not read the place is not known
        await ring.wait_for_status(str(lost), "stopped")
    await still_sends(ring, session)


async def test_a_bad_event_spoils_no_other_of_its_bundle(
    ring: Ring, session: dict[str, Any]
) -> None:
    lost = uuid4()
    events = (
        event(lost, 1, SessionCreated(name="injected")),
        event(lost, 2, SessionStarting(reason="created")) | {"type": "session.dreamt"},
        event(lost, 3, SessionStopped()),
    )
    bundle = frame_bundle((n, json.dumps(one).encode(), None) for n, one in enumerate(events))
    known = [one["id"] for one in await bundles_among_letters(ring)]
    await publish(ring, "", PROJECTOR, bundle, type=BUNDLE)
    await ring.wait_for_status(str(lost), "stopped")

    async def dead() -> list[dict[str, Any]]:
        return [one for one in await bundles_among_letters(ring) if one["id"] not in known]

    (letter,) = await eventually(dead, what="the bundle is a dead letter")
    assert "session.dreamt" in letter["cause"]
    await still_sends(ring, session)


async def bundles_among_letters(ring: Ring) -> list[dict[str, Any]]:
    """The dead letters that are bundles."""
    items = (await ring.admin.get("/api/dead-letters?limit=200")).json()["items"]
    return [one for one in items if one["type"] == BUNDLE]


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        (BUNDLE, b"{}"),
        (BUNDLE, b'{"events": [{"predecessor": "1", "event": {}}]}'),
        (BUNDLE, b'{"events": [{"predecessor": -1, "event": {}}]}'),
        (BUNDLE, b'{"events": 7}'),
        ("odd", b'{"sessionId": "x", "sessionSequence": 1e400}'),
        ("odd", b'{"sessionId": 5, "sessionSequence": true, "data": {}}'),
        (
            "odd",
            json.dumps(
                {"sessionId": str(UUID(int=7)), "sessionSequence": 2**63, "data": {}}
            ).encode(),
        ),
    ],
)
async def test_what_is_hardly_an_event(
    ring: Ring, session: dict[str, Any], kind: str, body: bytes
) -> None:
    known = (await ring.admin.get("/api/dead-letters?limit=200")).json()["items"]
    await publish(ring, "", PROJECTOR, body, type=kind)

    async def more() -> bool:
        items = (await ring.admin.get("/api/dead-letters?limit=200")).json()["items"]
        return len(items) == len(known) + 1

    await eventually(more, what="one more dead letter")
    await still_sends(ring, session)


@pytest.mark.parametrize(
    "properties",
    [
        {"type": "direct.1"},
        {"type": "direct.2", "headers": {"x-death": "never"}},
        {"type": "direct.3", "headers": {"x-death": [7]}},
        {"type": "direct.4", "headers": {"x-death": [{"queue": "a\0b", "time": 5}]}},
    ],
)
async def test_letters_that_nobody_rejected(
    ring: Ring, session: dict[str, Any], properties: dict[str, Any]
) -> None:
    await publish(ring, DEAD_LETTERS, "", b"\xff\0", **properties)
    assert (await letter_of(ring, properties["type"]))["reason"] == "unknown"
    await still_sends(ring, session)


def test_every_durable_queue_is_in_this_file() -> None:
    """The log is a stream that nobody of ours consumes; what is not durable: api/test_inbox.py."""
    names = {queue.name.partition(".p")[0] for queue in QUEUES}
    commands = {COMMANDS, f"{COMMANDS}.control"}  # consumed alike
    assert names == {*commands, PROJECTOR.partition(".p")[0], "wa.events.log", DEAD_LETTERS}
