"""The quick way to read events gives what the one step by step gives, or leaves it to that one."""

import json
import pickle
from collections.abc import Iterable
from typing import Any, cast

import pytest
from hypothesis import given

from tests.security.test_fuzzing import GOOD_EVENTS, calm, damaged
from wa_contracts.bundle import BundledEvent
from wa_contracts.codec import (
    EVENT_LIMIT,
    Undecodable,
    decode_bundle,
    decode_event,
    decode_newest_bundle,
    encode,
    frame_bundle,
    read_event,
    read_event_json,
)
from wa_contracts.envelope import Envelope
from wa_contracts.examples import EXAMPLES
from wa_contracts.newest_events import newest_event
from wa_contracts.upcasters import UPCASTERS

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def bundle(raws: Iterable[Any]) -> bytes:
    """A bundle of these, as read from JSON; every second one has a trace."""
    return frame_bundle(
        (at, json.dumps(raw).encode(), TRACE if at % 2 else None) for at, raw in enumerate(raws)
    )


def step_by_step(body: bytes) -> list[BundledEvent[Envelope]]:
    """The other way to read a bundle."""
    return [
        BundledEvent(one.predecessor, read_event(one.event), one.traceparent)
        for one in decode_bundle(body)
    ]


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.type)
def test_an_example_is_the_same_in_all_it_shows(example: Envelope) -> None:
    event = newest_event(encode(example))
    assert event is not None
    assert event == example
    assert (type(event), type(event.data)) == (Envelope, type(example.data))
    assert (repr(event), hash(event), encode(event)) == (
        repr(step := read_event(read_event_json(encode(example)))),
        hash(step),
        encode(step),
    )
    assert pickle.loads(pickle.dumps(event)) == example
    assert event.model_copy(update={"data": event.data}) == example


def test_a_bundle_of_every_example() -> None:
    body = bundle(GOOD_EVENTS)
    events = decode_newest_bundle(body)
    assert events == step_by_step(body)
    assert [one.event for one in events or ()] == list(EXAMPLES)
    assert [one.traceparent for one in events or ()][:2] == [None, TRACE]
    assert {type(one.event) for one in events or ()} == {Envelope}


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
    assert decode_newest_bundle(body) is None
    apart = [one.event for one in decode_bundle(body)]
    with pytest.raises(Undecodable):
        read_event(apart.pop(len(EXAMPLES)))
    assert [read_event(one) for one in apart] == [*EXAMPLES, *EXAMPLES]


def test_an_old_one_among_them_comes_out_as_the_newest(monkeypatch: pytest.MonkeyPatch) -> None:
    received = EXAMPLES[-1]
    monkeypatch.setitem(cast("Any", UPCASTERS), (received.type, 0), lambda old: old["wrapped"])
    old = GOOD_EVENTS[-1] | {"version": 0, "data": {"wrapped": GOOD_EVENTS[-1]["data"]}}
    body = bundle([GOOD_EVENTS[0], old, GOOD_EVENTS[1]])
    assert decode_newest_bundle(body) is None
    assert [one.event for one in step_by_step(body)] == [EXAMPLES[0], received, EXAMPLES[1]]
    assert decode_event(json.dumps(old).encode()) == received


@pytest.mark.parametrize("predecessor", [-1, 2**63, 1.0, True, "1", None])
def test_a_predecessor_that_is_no_sequence_is_taken_by_neither(predecessor: object) -> None:
    body = json.dumps({"events": [{"predecessor": predecessor, "event": GOOD_EVENTS[0]}]}).encode()
    assert decode_newest_bundle(body) is None
    with pytest.raises(Undecodable):
        decode_bundle(body)


def test_a_traceparent_that_is_no_text_is_passed_over() -> None:
    one = {"predecessor": 0, "event": GOOD_EVENTS[0], "traceparent": 7}
    body = json.dumps({"events": [one]}).encode()
    assert decode_newest_bundle(body) is None
    assert step_by_step(body) == [BundledEvent(0, EXAMPLES[0])]


def test_too_large_is_too_large() -> None:
    with pytest.raises(Undecodable, match="more than"):
        decode_newest_bundle(b" " * (EVENT_LIMIT + 1))


@calm
@given(damaged(GOOD_EVENTS))
def test_what_the_quick_way_takes_is_what_the_other_gives(body: bytes) -> None:
    quick = newest_event(body)
    if quick is not None:
        assert quick == read_event(read_event_json(body))
        assert decode_event(body) == quick
