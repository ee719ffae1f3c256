"""The AsyncAPI document as data for the reference page."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from wa_api.dashboard.reference.operations import Field, fields_of

_GROUPS = {"session": "Life of a session", "message": "Life of a message", "call": "Calls"}
_ENVELOPE_ONLY = frozenset({"type", "version", "data"})


@dataclass(frozen=True)
class EventEntry:
    """One event: meaning, address, fields and an example."""

    name: str
    title: str
    summary: str
    address: str
    version: str
    fields: Sequence[Field]
    example: str

    @property
    def id(self) -> str:
        """The event's anchor in the page."""
        return f"event-{self.name.replace('.', '-').replace('_', '-')}"


@dataclass(frozen=True)
class EventGroup:
    title: str
    events: Sequence[EventEntry]


@dataclass(frozen=True)
class EventReference:
    title: str
    description: str
    envelope: Sequence[Field]
    groups: Sequence[EventGroup]


def event_reference_of(document: Mapping[str, Any]) -> EventReference:
    """Convert the AsyncAPI document, in the document's order."""
    entries = [
        _entry(document, channel)
        for channel in document["channels"].values()
        if len(channel["messages"]) == 1
    ]
    payload = next(iter(document["components"]["messages"].values()))["payload"]
    info = document["info"]
    return EventReference(
        info["title"],
        info["description"],
        [field for field in fields_of(document, payload) if field.name not in _ENVELOPE_ONLY],
        [
            EventGroup(
                _GROUPS[prefix], [one for one in entries if one.name.startswith(f"{prefix}.")]
            )
            for prefix in dict.fromkeys(entry.name.partition(".")[0] for entry in entries)
        ],
    )


def _entry(document: Mapping[str, Any], channel: Mapping[str, Any]) -> EventEntry:
    [name] = channel["messages"]
    message = document["components"]["messages"][name]
    properties = message["payload"]["properties"]
    example: Mapping[str, Any] = message["examples"][0]["payload"]
    return EventEntry(
        name=message["name"],
        title=message["title"],
        summary=message["summary"],
        address=channel["address"],
        version=str(properties["version"]["const"]),
        fields=fields_of(document, properties["data"]),
        example=json.dumps(example, indent=2, ensure_ascii=False),
    )
