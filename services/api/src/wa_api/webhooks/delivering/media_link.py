"""The link to an incoming message's media in a webhook's body."""

import json
from collections.abc import Callable
from datetime import datetime
from uuid import UUID

from wa_contracts.message_events import MessageReceived

MediaLink = Callable[[UUID], tuple[str, datetime]]
"""A link to a message's media, and when it ends."""


def with_media_link(event_type: str, body: str, link: MediaLink) -> str:
    """The body with `mediaUrl` and `mediaUrlExpiresAt` if it is an incoming message with media."""
    if event_type != MessageReceived.TYPE:
        return body
    event = json.loads(body)
    data = event["data"]
    if data.get("mediaMimeType") is None:
        return body
    data["mediaUrl"], ends = link(UUID(data["id"]))
    data["mediaUrlExpiresAt"] = ends.isoformat().replace("+00:00", "Z")
    return json.dumps(event, ensure_ascii=False)
