"""The `webhooks` section of the OpenAPI document, derived from the AsyncAPI document."""

from collections.abc import Mapping
from typing import Any

Document = Mapping[str, Any]

_HEADERS = {
    "webhook-id": "The event's id, the same at each attempt: know duplicates by it.",
    "webhook-timestamp": "When this attempt was signed, in seconds since 1970.",
    "webhook-signature": "`v1,` and a signature in base64; two of them while a secret is rotated.",
}
_MORE = {
    "message.received": " For endpoints with `includeMedia`, `data` also has `mediaUrl`, a link to "
    "the media that needs no token, and its end `mediaUrlExpiresAt`.",
}
_ANSWERS = {
    "2XX": {"description": "It arrived. All else, redirects too, is tried again for 24 hours."},
    "410": {"description": "The endpoint is gone: it is paused at once."},
}


def webhooks_of(events: Document) -> dict[str, Any]:
    """One entry per event of an AsyncAPI document. Schemas are referenced by name."""
    return {
        message["name"]: {"post": _operation(message)}
        for message in events["components"]["messages"].values()
    }


def _operation(message: Document) -> dict[str, Any]:
    content = {
        "schema": message["payload"],
        "example": message["examples"][0]["payload"],
    }
    return {
        "tags": ["webhooks"],
        "operationId": f"webhook-{message['name']}",
        "summary": message["title"],
        "description": message["summary"] + _MORE.get(message["name"], ""),
        "parameters": [
            {
                "name": name,
                "in": "header",
                "required": True,
                "description": description,
                "schema": {"type": "string"},
            }
            for name, description in _HEADERS.items()
        ],
        "requestBody": {"required": True, "content": {"application/json": content}},
        "responses": _ANSWERS,
    }
