"""Prints what becomes of messages, one JSON object a line, with the consumer library.

    pip install './libs/contracts[consumer]'
    AMQP_URL=amqp://guest:guest@localhost:5672/ python examples/python/consumer.py

`SINCE=2026-01-02T03:04:05Z` begins in the past, when the queue is new.
"""

import asyncio
import json
import os
from datetime import datetime

from wa_contracts.consumer import subscribe
from wa_contracts.envelope import Envelope
from wa_contracts.message_events import MessageFailed, MessageReceived, MessageSent

URL = os.environ.get("AMQP_URL", "amqp://guest:guest@localhost:5672/")
QUEUE = os.environ.get("QUEUE", "example-python")
SINCE = os.environ.get("SINCE")


def handle(event: Envelope) -> None:
    """Work with one event. `event.data` has a type of its own for each kind of event."""
    about: str | None
    match event.data:
        case MessageSent() as sent:
            message, about = sent.message_id, sent.to
        case MessageReceived() as received:
            message, about = received.message_id, received.text
        case MessageFailed() as failed:
            message, about = str(failed.id), failed.error.code
        case _:
            return
    line = {
        "type": event.type,
        "session": str(event.session_id),
        "sequence": event.session_sequence,
        "message": message,
        "about": about,
    }
    print(json.dumps(line), flush=True)


async def main() -> None:
    """Events for ever; each is acknowledged when the loop asks for the next one."""
    events = subscribe(
        URL,
        *("message.sent", "message.failed", "message.received"),
        queue=QUEUE,
        since=datetime.fromisoformat(SINCE) if SINCE else None,
    )
    async for event in events:
        handle(event)


if __name__ == "__main__":
    asyncio.run(main())
