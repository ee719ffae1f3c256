"""Events as they were published are understood for ever, and no change takes anything from readers."""

import json
import re
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from tests.unit.contracts.compatibility import breaks
from tests.unit.contracts.golden import FOLDER, example_file, read, schema_file
from wa_contracts.asyncapi import event_schema
from wa_contracts.codec import EVENT_TYPES, decode_event, encode
from wa_contracts.message_events import MessageSent

EXAMPLE_NAME = re.compile(r"(?P<type>[a-z_.]+)\.v(?P<version>\d+)\.json")
EXAMPLES = sorted(path for path in FOLDER.glob("*.json") if EXAMPLE_NAME.fullmatch(path.name))
SENT = event_schema(MessageSent)


@pytest.mark.parametrize("event", EVENT_TYPES.values(), ids=lambda event: event.TYPE)
def test_every_version_has_its_golden_files(event: Any) -> None:
    for path in (
        example_file(event.TYPE, event.VERSION),
        schema_file(event.TYPE, event.VERSION),
    ):
        assert path.exists(), "run: python -m tests.unit.contracts.golden"


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_a_published_example_is_understood_and_keeps_every_value(path: Path) -> None:
    published = read(path)
    event = decode_event(path.read_bytes())
    assert event.type == published["type"]
    if published["version"] == event.version:
        assert_holds(json.loads(encode(event)), published)
        Draft202012Validator(event_schema(type(event.data))).validate(published)


def assert_holds(now: Any, published: Any, at: str = "event") -> None:
    """Every published value is still there, under its name."""
    if isinstance(published, dict):
        for name, value in published.items():
            assert name in now, f"{at}.{name} is gone"
            assert_holds(now[name], value, f"{at}.{name}")
    else:
        assert now == published, at


@pytest.mark.parametrize("event", EVENT_TYPES.values(), ids=lambda event: event.TYPE)
def test_the_schema_takes_nothing_from_its_readers(event: Any) -> None:
    published = read(schema_file(event.TYPE, event.VERSION))
    assert breaks(published, event_schema(event)) == [], (
        "make a new VERSION of the event with an upcaster from this one"
    )
    assert published == event_schema(event), "additions: run python -m tests.unit.contracts.golden"


def renamed(schema: dict[str, Any]) -> None:
    properties = schema["properties"]["data"]["properties"]
    properties["whatsappId"] = properties.pop("messageId")


def another_type(schema: dict[str, Any]) -> None:
    schema["properties"]["data"]["properties"]["messageId"] = {"type": "integer"}


def another_format(schema: dict[str, Any]) -> None:
    schema["properties"]["data"]["properties"]["sentAt"]["format"] = "date"


def null_at_times(schema: dict[str, Any]) -> None:
    data = schema["properties"]["data"]["properties"]
    data["messageId"] = {"anyOf": [data["messageId"], {"type": "null"}]}


def absent_at_times(schema: dict[str, Any]) -> None:
    schema["properties"]["data"]["required"].remove("messageId")


def narrower(schema: dict[str, Any]) -> None:
    schema["$defs"]["MessageType"]["enum"].remove("video")


def free_text(schema: dict[str, Any]) -> None:
    del schema["$defs"]["MessageType"]["enum"]


def another_version(schema: dict[str, Any]) -> None:
    schema["properties"]["version"] = {"const": 2}


@pytest.mark.parametrize(
    "change",
    [
        renamed,
        another_type,
        another_format,
        null_at_times,
        absent_at_times,
        narrower,
        free_text,
        another_version,
    ],
)
def test_what_breaks_readers_is_found(change: Callable[[dict[str, Any]], None]) -> None:
    changed = deepcopy(SENT)
    change(changed)
    assert len(breaks(SENT, changed)) == 1


def test_what_adds_is_let_through() -> None:
    changed = deepcopy(SENT)
    data = changed["properties"]["data"]
    data["properties"]["addedLater"] = {"type": "string"}
    data["required"].append("addedLater")
    data["required"].append("reference")
    changed["$defs"]["MessageType"]["enum"].append("unheard_of")
    assert breaks(SENT, changed) == []
