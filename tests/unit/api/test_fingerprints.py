"""A request's fingerprint is stored for days: it must be the same in every version."""

from typing import Any

import pytest

from wa_api.messages.send_request import SendRequest

TEXT = {"to": "919876543210", "type": "text", "message": "hi"}
DOCUMENT = {
    "to": "919876543210",
    "type": "document",
    "mediaUrl": "https://example.com/a.pdf",
    "fileName": "a.pdf",
    "reference": "r1",
    "message": "caption é",
}


class NextVersion(SendRequest):
    """A later version with two more optional fields."""

    priority: str | None = None
    batch: bool | None = None


@pytest.mark.parametrize("version", [SendRequest, NextVersion])
@pytest.mark.parametrize(
    ("body", "stored"),
    [
        (TEXT, "6c85dbb220baee20169447bdb4e70c1e93b946ba6352d2c84bca67728bbd31ec"),
        (DOCUMENT, "de9d89086ccf3a1a9d8d41d8ddf5ab23773cf94e20a0e53d8566ac0a3db314c6"),
    ],
    ids=["text", "document"],
)
def test_what_was_stored_compares_equal(
    version: type[SendRequest], body: dict[str, Any], stored: str
) -> None:
    assert version.model_validate(body).fingerprint() == stored


def test_a_younger_field_that_is_given_counts() -> None:
    bodies: list[dict[str, Any]] = [TEXT, {**TEXT, "priority": "high"}]
    assert len({NextVersion.model_validate(body).fingerprint() for body in bodies}) == 2
