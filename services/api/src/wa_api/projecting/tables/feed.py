"""The feed: public events, numbered in projection order."""

from collections.abc import Sequence
from typing import Any

from pydantic_core import from_json, to_json

from wa_api.database.pool import Connection
from wa_contracts.codec import encode
from wa_contracts.envelope import Envelope
from wa_contracts.session_events import QRIssued


async def append(connection: Connection, events: Sequence[tuple[Envelope, str | None]]) -> None:
    """Append events, each with its published JSON if available."""
    await connection.copy_records_to_table(
        "feed",
        columns=("session_id", "type", "event"),
        records=[(event.session_id, event.type, _shown(event, json)) for event, json in events],
    )


def _shown(event: Envelope, json: str | None) -> str:
    """JSON for the feed, without QR codes (they expire) and without U+0000."""
    if type(event.data) is QRIssued:
        event = event.model_copy(update={"data": event.data.model_copy(update={"qr": None})})
        json = None
    text = json or encode(event).decode()
    if "\\u0000" in text:
        text = to_json(_without_nul(from_json(text))).decode()
    return text


def _without_nul(value: Any) -> Any:
    """Replace U+0000, which Postgres cannot store in text, by U+FFFD."""
    match value:
        case str():
            return value.replace("\x00", "\ufffd")
        case dict():
            return {key: _without_nul(item) for key, item in value.items()}
        case list():
            return [_without_nul(item) for item in value]
        case _:
            return value
