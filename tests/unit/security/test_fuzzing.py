"""Everything that reads what strangers write, given what nobody would: an error of its own, or none."""

import asyncio
import json
import re
import struct
import tracemalloc
from contextlib import suppress
from datetime import UTC
from fnmatch import fnmatchcase
from typing import Any, get_args
from unittest.mock import Mock, patch

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from yarl import URL

from wa_api.events.patterns import UnknownEvent, events_meant
from wa_api.events.routes import last_seen
from wa_api.http.paging import BadCursor, Place, place_of
from wa_api.http.problems import Problem
from wa_api.projecting.event_message import read_message
from wa_contracts import codec
from wa_contracts.codec import EVENT_TYPES, Undecodable, encode
from wa_contracts.examples import EXAMPLES
from wa_contracts.internal.commands import AnyCommand
from wa_contracts.recipient import RECIPIENT_PATTERN, parse_recipient
from wa_runtime.web_address import NotAWebAddress, web_address
from wa_session_host.domain.observations import ClientVersion
from wa_session_host.engine.process.worker_engine import WorkerEngine
from wa_session_host.engine.protocol import (
    FRAME_LIMIT,
    Begin,
    Frame,
    ProtocolError,
    decode_frame,
    read_frame,
)

calm = settings(deadline=None)  # the machine may be loaded
OWN_PID = 2**30
ODD_NUMBERS = st.sampled_from([0, -1, 2**31, 2**63, 2**64, 2**200, 1.5, 1e308, True])
ODD_TEXTS = st.text() | st.sampled_from(
    ["", "\0", "a" * 300, "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "NaN"]
)
ANYTHING = st.recursive(
    st.none() | ODD_NUMBERS | ODD_TEXTS,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=8,
)
GOOD_EVENTS = [json.loads(encode(one)) for one in EXAMPLES]


@st.composite
def damaged(draw: st.DrawFn, good: list[dict[str, Any]]) -> bytes:
    """One of these, with one or two of its values replaced or left out, at any depth."""
    found: dict[str, Any] = json.loads(json.dumps(draw(st.sampled_from(good))))
    for _ in range(draw(st.integers(1, 2))):
        at = found
        while True:
            key = draw(st.sampled_from(sorted(at) or ["x"]))
            inner = at.get(key)
            if not isinstance(inner, dict) or not inner or draw(st.booleans()):
                break
            at = inner
        if draw(st.booleans()):
            at[key] = draw(ANYTHING)
        else:
            at.pop(key, None)
    return json.dumps(found).encode()


COMMANDS = [
    {
        "type": kind.model_fields["type"].default,
        "id": "00000000-0000-0000-0000-000000000001",
        "correlationId": "00000000-0000-0000-0000-000000000001",
        "issuedAt": "2026-01-02T03:04:05Z",
        "expiresAt": "2026-01-02T03:04:05Z",
        "replyTo": "reply.x",
        "sessionId": "00000000-0000-0000-0000-000000000001",
        "messageId": "00000000-0000-0000-0000-000000000002",
        "to": "919876543210",
        "messageType": "text",
        "text": "x",
        "fingerprint": "f",
        "queue": "q",
        "fromSequence": 1,
        "partition": 1,
        "phoneNumber": "919876543210",
    }
    for kind in AnyCommand.__origin__.__args__  # type: ignore[attr-defined]
]


@calm
@given(damaged(COMMANDS) | ANYTHING.map(lambda one: json.dumps(one).encode()))
def test_commands(body: bytes) -> None:
    with suppress(Undecodable):
        codec.decode_command(body)


@calm
@given(damaged(GOOD_EVENTS) | ANYTHING.map(lambda one: json.dumps(one).encode()))
@example(b"[" * 200_000)
def test_events(body: bytes) -> None:
    decoders = (
        codec.decode_event,
        codec.decode_bundle,
        codec.decode_reply,
        codec.decode_heartbeat,
        codec.decode_partition_replayed,
    )
    for decode in decoders:
        with suppress(Undecodable):
            decode(body)


@calm
@given(
    st.lists(damaged(GOOD_EVENTS).map(json.loads) | ANYTHING, max_size=3),
    ODD_NUMBERS | ANYTHING,
    st.booleans(),
)
def test_what_the_projector_takes_off_its_queue(
    events: list[Any], predecessor: Any, in_bundle: bool
) -> None:
    bundle = {"events": [{"predecessor": predecessor, "event": one} for one in events]}
    body = json.dumps(bundle if in_bundle else events[:1]).encode()
    delivery = read_message(
        Mock(type="events.bundle" if in_bundle else "x", body=body, traceparent=None)
    )
    for arrival in delivery.arrivals:
        assert 0 <= arrival.predecessor < 2**63
        assert -(2**63) < arrival.sequence < 2**63


@calm
@given(st.text() | st.from_regex(RECIPIENT_PATTERN))
def test_recipients_are_what_their_schema_says(text: str) -> None:
    try:
        parse_recipient(text)
    except ValueError as error:
        assert str(error).startswith("'to' ")  # noqa: PT017 - either ending is right
        assert re.fullmatch(RECIPIENT_PATTERN, text) is None or text.endswith("\n")
    else:
        assert re.fullmatch(RECIPIENT_PATTERN, text)


@calm
@given(st.datetimes(timezones=st.just(UTC)), st.uuids())
def test_a_cursor_comes_back_or_is_none(at: Any, identity: Any) -> None:
    with suppress(BadCursor):
        assert place_of(Place(at, identity).cursor()) == Place(at, identity)


@calm
@given(st.text() | st.from_regex(r"[A-Za-z0-9_-]{1,80}={0,2}"))
@example("MDAwMS0wMS0wMVQwMDowMDowMCsxNDowMCAwMDAwMDAwMC0wMDAwLTAwMDAtMDAwMC0wMDAwMDAwMDAwMDA")
def test_cursors(text: str) -> None:
    with suppress(BadCursor):
        place_of(text)


@calm
@given(st.text() | st.integers().map(str))
@example("9" * 19)
@example("\u0661")
def test_positions_of_the_feed(text: str) -> None:
    try:
        position = last_seen(text)
    except Problem as problem:
        assert problem.status == 400  # noqa: PT017 - either ending is right
    else:
        assert position is None or 0 <= position < 2**63


@calm
@given(st.lists(st.text(alphabet="*.?[]!messagsion", max_size=40) | st.text(), max_size=4))
@example(["*" * 100_000 + "x"])
@example(["*a" * 50_000])
def test_patterns_of_events(patterns: list[str]) -> None:
    with suppress(UnknownEvent):
        assert events_meant(patterns) <= set(EVENT_TYPES)


@pytest.mark.parametrize(
    ("pattern", "count"),
    [("*", 32), ("message.*", 16), ("*.sent", 1), ("s*n*.*d", 11), ("message.sent", 1), ("**", 32)],
)
def test_patterns_mean_what_they_meant(pattern: str, count: int) -> None:
    meant = events_meant([pattern])
    assert meant == {one for one in EVENT_TYPES if fnmatchcase(one, pattern)}
    assert len(meant) == count


@calm
@given(
    st.text()
    | st.from_regex(r"https?://[a-z.@:\\/#?\[\]%0-9\t ]{0,12}(:[0-9a-z]{0,6})?([/?#].{0,6})?")
)
def test_what_is_checked_is_what_is_connected_to(text: str) -> None:
    """The client's own reading of a URL that passes leads to the same host and port."""
    try:
        address = web_address(text)
    except NotAWebAddress:
        return
    try:
        url = URL(text)
        host, port = url.host, url.port
    except ValueError:
        return  # the client refuses it, too
    if host is not None and address.host.isascii():
        assert (host.lower(), port) == (address.host, address.port)


KINDS = [kind.__name__ for kind in get_args(Frame)]
FRAMES = [{"type": kind, "data": {"call": 1, "pid": 1, "deadline": 1.0}} for kind in KINDS]


@calm
@given(st.binary() | damaged(FRAMES) | ANYTHING.map(lambda one: json.dumps(one).encode()))
def test_frames_of_a_worker(body: bytes) -> None:
    with suppress(ProtocolError):
        decode_frame(body)


@calm
@given(st.integers(FRAME_LIMIT + 1, 2**32 - 1), st.binary(max_size=100))
async def test_a_frame_that_is_too_long_is_not_waited_for(length: int, rest: bytes) -> None:
    reader = asyncio.StreamReader()
    reader.feed_data(struct.pack(">I", length) + rest)
    with pytest.raises(ProtocolError):
        await asyncio.wait_for(read_frame(reader), 1)


@calm
@given(st.lists(st.binary(max_size=60) | damaged(FRAMES), max_size=5))
async def test_a_host_bears_any_worker(frames: list[bytes]) -> None:
    """Whatever comes over the socket is taken in, or ends that engine alone; no signal leaves it."""
    reader = asyncio.StreamReader()
    for frame in frames:
        reader.feed_data(struct.pack(">I", len(frame)) + frame)
    reader.feed_eof()
    with patch("os.kill") as kill:
        begin = Begin("s", "sqlite://", None, 0.0, ClientVersion("engine", "2.3000.1"))
        engine = WorkerEngine(begin, reader, Mock(), OWN_PID)
        async with asyncio.timeout(2):
            _ = [seen async for seen in engine.observations()]
    assert engine.ended
    assert {call.args[0] for call in kill.call_args_list} <= {OWN_PID}


def test_memory_is_bounded_by_the_message() -> None:
    body = json.dumps(GOOD_EVENTS[0] | {"more": "x" * (codec.EVENT_LIMIT + 1)}).encode()
    deep = b"[" * (4 * 1024 * 1024)
    tracemalloc.start()
    for one, most in ((body, 1024 * 1024), (deep, 1024 * 1024)):
        for decode in (codec.decode_event, codec.decode_command):
            with pytest.raises(Undecodable):
                decode(one)
            assert tracemalloc.get_traced_memory()[1] < most
    tracemalloc.stop()
