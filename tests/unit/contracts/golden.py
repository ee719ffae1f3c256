"""The golden files: each version of each event as it was published, for ever.

`internal/` has each message between the services as its first version wrote it.
`python -m tests.unit.contracts.golden` adds what is new. It changes no example, and a schema only by
additions: what breaks readers gets a new version of the event and an upcaster.
"""

import json
import sys
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from tests.unit.contracts.compatibility import breaks
from tests.unit.contracts.internal_examples import ANSWERS, COMMANDS
from wa_contracts.asyncapi import as_text, event_schema
from wa_contracts.codec import EVENT_TYPES, encode
from wa_contracts.examples import EXAMPLES

FOLDER = Path(__file__).parents[3] / "libs/contracts/golden"
INTERNAL = FOLDER / "internal"


def example_file(event_type: str, version: int) -> Path:
    """Where the example of an event's version is."""
    return FOLDER / f"{event_type}.v{version}.json"


def schema_file(event_type: str, version: int) -> Path:
    """Where the schema of an event's version is."""
    return FOLDER / f"{event_type}.v{version}.schema.json"


def internal_file(message: BaseModel) -> Path:
    """Where the example of a message between the services is."""
    return INTERNAL / f"{type(message).__name__}.json"


def read(path: Path) -> dict[str, Any]:
    """A golden file's content."""
    content: dict[str, Any] = json.loads(path.read_text())
    return content


def add() -> list[str]:
    """Write what is new; what must not be written, as sentences."""
    INTERNAL.mkdir(parents=True, exist_ok=True)
    for message in (*COMMANDS, *ANSWERS):
        if not (path := internal_file(message)).exists():
            path.write_text(as_text(json.loads(encode(message))))
    refused = []
    for example in EXAMPLES:
        path = example_file(example.type, example.version)
        if not path.exists():
            path.write_text(as_text(json.loads(encode(example))))
        event, path = EVENT_TYPES[example.type], schema_file(example.type, example.version)
        schema = event_schema(event)
        if path.exists() and (broken := breaks(read(path), schema)):
            refused += [f"{event.TYPE} v{event.VERSION}: {sentence}" for sentence in broken]
            continue
        path.write_text(as_text(schema))
    return refused


if __name__ == "__main__":
    sys.exit("\n".join(add()) or 0)
