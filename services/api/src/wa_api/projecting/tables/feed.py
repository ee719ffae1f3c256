"""The feed: every public event, numbered in the order of its projection."""

from collections.abc import Sequence
from typing import Any

from pydantic_core import from_json, to_json

from wa_api.database.pool import Connection
from wa_contracts.codec import encode
from wa_contracts.envelope import Envelope
from wa_contracts.session_events import QRIssued


async def append(connection: Connection, events: Sequence[tuple[Envelope, str | None]]) -> None:
    """Add these events; beside each its JSON, where that is at hand."""
    await connection.copy_records_to_table(
        "feed",
        columns=("session_id", "type", "event"),
        records=[(event.session_id, event.type, _shown(event, json)) for event, json in events],
    )


def _shown(event: Envelope, json: str | None) -> str:
    """As JSON, without what must not outlive its moment, and storable."""
    if type(event.data) is QRIssued:
        event = event.model_copy(update={"data": event.data.model_copy(update={"qr": None})})
        json = None
    text = json or encode(event).decode()
    if "\\u0000" in text:
        text = to_json(_without_nul(from_json(text))).decode()
    return text


def _without_nul(value: Any) -> Any:
    """Postgres stores no U+0000 in text; what people see is the replacement character."""
    match value:
        case str():
            return value.replace("\x00", "\ufffd")
        case dict():
            return {key: _without_nul(item) for key, item in value.items()}
        case list():
            return [_without_nul(item) for item in value]
        case _:
            return value
