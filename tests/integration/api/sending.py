"""What tests of sending ask for, and the shape of a refusal."""

from typing import Any

import httpx

SEND = "/api/messages/send"


TEXT = {"to": "919876543210", "type": "text", "message": "Hello World!"}


def assert_problem(answer: httpx.Response, status: int, code: str) -> dict[str, Any]:
    """The answer is this error, in the shape of all errors."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json"
    body: dict[str, Any] = answer.json()
    assert body["success"] is False
    assert body["code"] == code
    assert body["error"].endswith(".")
    assert isinstance(body["details"], list)
    return body
