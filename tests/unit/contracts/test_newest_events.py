"""The quick way to read events gives what the one step by step gives, or leaves it to that one."""

import json
import pickle
from collections.abc import Iterable, Sequence
from typing import Any, cast

import pytest
from hypothesis import given

from tests.unit.security.test_fuzzing import GOOD_EVENTS, calm, damaged
from wa_contracts.codec import (
    EVENT_LIMIT,
    Undecodable,
    decode_bundle,
    decode_event,
    encode,
    read_event,
    read_event_json,
)
from wa_contracts.envelope import Envelope
from wa_contracts.examples import EXAMPLES
from wa_contracts.internal.bundle import frame_bundle
from wa_contracts.newest_events import newest_event, newest_events
from wa_contracts.upcasters import UPCASTERS

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def bundle(raws: Iterable[Any]) -> bytes:
    """A bundle of these, as read from JSON; every second one has a trace."""
    return frame_bundle(
        (at, json.dumps(raw).encode(), TRACE if at % 2 else None) for at, raw in enumerate(raws)
    )


def at_once(body: bytes) -> Sequence[Envelope] | None:
    """The events of a bundle, read in one call."""
    return newest_events([one.json for one in decode_bundle(body)])


def step_by_step(body: bytes) -> list[Envelope]:
    """The other way to read a bundle."""
    return [read_event(read_event_json(one.json)) for one in decode_bundle(body)]


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.type)
def test_an_example_is_the_same_in_all_it_shows(example: Envelope) -> None:
    event = newest_event(encode(example))
    assert event is not None
    assert event == example
    assert (type(event), type(event.data)) == (Envelope, type(example.data))
    step = read_event(read_event_json(encode(example)))
    assert (repr(event), encode(event)) == (repr(step), encode(step))
    assert pickle.loads(pickle.dumps(event)) == example
    assert event.model_copy(update={"data": event.data}) == example


def test_a_bundle_of_every_example() -> None:
    body = bundle(GOOD_EVENTS)
    events = at_once(body)
    assert events == step_by_step(body) == list(EXAMPLES)
    assert {type(event) for event in events or ()} == {Envelope}
    bundled = decode_bundle(body)
    assert [one.predecessor for one in bundled] == list(range(len(EXAMPLES)))
    assert [one.traceparent for one in bundled][:3] == [None, TRACE, None]
    assert [json.loads(one.json) for one in bundled] == GOOD_EVENTS


@pytest.mark.parametrize(
    "odd",
    [
        {"type": "message.from_the_future"},
        {"version": 0},
        {"version": 2},
        {"data": {}},
        {"data": []},
        {"sessionId": "x"},
        {"sessionSequence": 2**63},
    ],
    ids=str,
)
def test_one_that_is_not_known_leaves_the_bundle_to_the_other_way(odd: dict[str, Any]) -> None:
    body = bundle([*GOOD_EVENTS, GOOD_EVENTS[-1] | odd, *GOOD_EVENTS])
    assert at_once(body) is None
    apart = [one.json for one in decode_bundle(body)]
    with pytest.raises(Undecodable):
        decode_event(apart.pop(len(EXAMPLES)))
    assert [decode_event(one) for one in apart] == [*EXAMPLES, *EXAMPLES]


def test_an_old_one_among_them_comes_out_as_the_newest(monkeypatch: pytest.MonkeyPatch) -> None:
    received = EXAMPLES[-1]
    monkeypatch.setitem(cast("Any", UPCASTERS), (received.type, 0), lambda old: old["wrapped"])
    old = GOOD_EVENTS[-1] | {"version": 0, "data": {"wrapped": GOOD_EVENTS[-1]["data"]}}
    body = bundle([GOOD_EVENTS[0], old, GOOD_EVENTS[1]])
    assert at_once(body) is None
    assert step_by_step(body) == [EXAMPLES[0], received, EXAMPLES[1]]
    assert decode_event(json.dumps(old).encode()) == received


def test_what_is_no_json_by_itself_leaves_the_others_alone() -> None:
    good = json.dumps(GOOD_EVENTS[0])
    for first, second in ((f"{good},{good}", good), (good[:9], good[9:]), ("", good), ("7", good)):
        lines = ["[0,null]", first, "[1,null]", second, "[2,null]", good]
        body = "\n".join(lines).encode()
        assert at_once(body) is None
        with pytest.raises(Undecodable):
            decode_event(decode_bundle(body)[0].json)
        assert decode_event(decode_bundle(body)[2].json) == EXAMPLES[0]


@pytest.mark.parametrize(
    "place",
    ["-1,null", f"{2**63},null", "1.0,null", "true,null", '"1",null', "null,null", "0", "0,7", ""],
)
def test_a_bundle_without_a_place_for_each_event_is_none(place: str) -> None:
    with pytest.raises(Undecodable, match="not a bundle"):
        decode_bundle(f"[{place}]\n{{}}".encode())


@pytest.mark.parametrize(
    "body", [b"", b"[0,null]", b"[0,null]\n{}\n[1,null]", b"[0,null]\n\xff", b"{}\n{}"]
)
def test_what_is_no_bundle(body: bytes) -> None:
    with pytest.raises(Undecodable, match="not a bundle"):
        decode_bundle(body)


def test_too_large_is_too_large() -> None:
    with pytest.raises(Undecodable, match="more than"):
        decode_bundle(b" " * (EVENT_LIMIT + 1))


@calm
@given(damaged(GOOD_EVENTS))
def test_what_the_quick_way_takes_is_what_the_other_gives(body: bytes) -> None:
    quick = newest_event(body)
    if quick is not None:
        assert quick == read_event(read_event_json(body))
        assert decode_event(body) == quick
