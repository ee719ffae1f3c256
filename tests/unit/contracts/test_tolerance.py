"""Messages of the previous version and of the next one are understood."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.unit.contracts.golden import INTERNAL, internal_file
from tests.unit.contracts.internal_examples import ANSWERS, COMMANDS
from tests.unit.contracts.test_golden import EXAMPLES, assert_holds
from wa_contracts.codec import (
    decode_command,
    decode_event,
    decode_heartbeat,
    decode_partition_replayed,
    decode_reply,
    encode,
)
from wa_contracts.internal.commands import AnyCommand

DECODE: dict[str, Callable[[bytes], Any]] = {
    "Reply": decode_reply,
    "Heartbeat": decode_heartbeat,
    "PartitionReplayed": decode_partition_replayed,
}
FILES = sorted(INTERNAL.glob("*.json"))


def decode(path: Path, body: bytes) -> Any:
    if path in EXAMPLES:
        return decode_event(body)
    return DECODE.get(path.stem, decode_command)(body)


def with_unknown_fields(value: Any) -> Any:
    """The same, with a field of the next version in every object whose names are the contract's."""
    if isinstance(value, dict):
        known = {
            name: inner if name == "metadata" else with_unknown_fields(inner)
            for name, inner in value.items()
        }
        return {"addedLater": {"a": [1]}, **known, "alsoAdded": None}
    return [with_unknown_fields(one) for one in value] if isinstance(value, list) else value


@pytest.mark.parametrize("example", [*COMMANDS, *ANSWERS], ids=lambda one: type(one).__name__)
def test_every_message_between_the_services_has_a_golden_file(example: Any) -> None:
    assert internal_file(example).exists(), "run: python -m tests.unit.contracts.golden"


def test_every_command_has_an_example() -> None:
    kinds: set[Any] = set(AnyCommand.__args__[0].__args__)
    assert {type(one) for one in COMMANDS} == kinds


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_message_of_an_earlier_version_keeps_every_value(path: Path) -> None:
    assert_holds(json.loads(encode(decode(path, path.read_bytes()))), json.loads(path.read_text()))


@pytest.mark.parametrize("path", [*FILES, *EXAMPLES], ids=lambda path: path.stem)
def test_unknown_fields_of_the_next_version_are_ignored(path: Path) -> None:
    newer = json.dumps(with_unknown_fields(json.loads(path.read_text()))).encode()
    assert decode(path, newer) == decode(path, path.read_bytes())
