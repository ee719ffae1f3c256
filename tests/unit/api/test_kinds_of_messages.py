"""The request of a send, by its type: what it needs, and the sentence for what is wrong."""

from typing import Any

import pytest
from pydantic import ValidationError

from wa_api.messages.send_request import SendRequest

TO = "919876543210"
ADA = {"name": "Ada", "phoneNumber": "12345678900"}


def request(**body: Any) -> SendRequest:
    return SendRequest.model_validate({"to": TO, **body})


@pytest.mark.parametrize(
    ("body", "place", "sentence"),
    [
        ({"type": "location"}, "location", "'location' is required for type 'location'."),
        ({"type": "contact"}, "contacts", "'contacts' is required for type 'contact'."),
        ({"type": "poll"}, "poll", "'poll' is required for type 'poll'."),
        ({"type": "reaction"}, "reaction", "'reaction' is required for type 'reaction'."),
        ({"type": "voice"}, "mediaUrl", "'mediaUrl' or 'mediaId' is required for type 'voice'."),
        (
            {"type": "audio", "mediaUrl": ""},
            "mediaUrl",
            "'mediaUrl' or 'mediaId' is required for type 'audio'.",
        ),
        (
            {"type": "sticker"},
            "mediaUrl",
            "'mediaUrl' or 'mediaId' is required for type 'sticker'.",
        ),
        (
            {"type": "location", "location": {"latitude": 90.01, "longitude": 0}},
            "location.latitude",
            "less than or equal to 90",
        ),
        (
            {"type": "location", "location": {"latitude": 0, "longitude": float("nan")}},
            "location.longitude",
            "finite",
        ),
        ({"type": "contact", "contacts": []}, "contacts", "at least 1 item"),
        ({"type": "contact", "contacts": [ADA] * 51}, "contacts", "at most 50"),
        (
            {"type": "contact", "contacts": [{"name": "Ada"}]},
            "contacts.0",
            "'name' and 'phoneNumber' are required, or 'vcard'.",
        ),
        (
            {"type": "contact", "contacts": [{"vcard": "hello"}]},
            "contacts.0",
            "'vcard' must begin with BEGIN:VCARD.",
        ),
        (
            {"type": "poll", "poll": {"question": "?", "options": ["a", "a"]}},
            "poll",
            "'options' must differ.",
        ),
        ({"type": "poll", "poll": {"question": "?", "options": ["a"]}}, "poll.options", "2 items"),
        (
            {"type": "poll", "poll": {"question": "?", "options": ["a", "b"], "selectable": 3}},
            "poll",
            "'selectable' is more than the poll has options.",
        ),
        (
            {"type": "reaction", "reaction": {"messageId": "", "emoji": "x"}},
            "reaction.messageId",
            "at least 1",
        ),
        ({"type": "text", "message": "x", "mentions": ["+49"]}, "mentions.0", "starts with '+'"),
        ({"type": "text", "message": "x", "replyTo": 7}, "replyTo", "valid dictionary"),
        ({"type": "text", "message": "x", "mentions": [TO] * 257}, "mentions", "at most 256"),
    ],
)
def test_what_is_wrong_is_named(body: dict[str, Any], place: str, sentence: str) -> None:
    with pytest.raises(ValidationError) as refused:
        request(**body)
    [error] = refused.value.errors()
    assert sentence in error["msg"]
    found = ".".join(str(part) for part in error["loc"]) or error["type"]
    assert found == place


def test_a_vcards_own_name_is_shown() -> None:
    card = "BEGIN:VCARD\r\nVERSION:3.0\r\nFN;CHARSET=UTF-8:Grace Hopper\r\nEND:VCARD"
    [contact] = request(type="contact", contacts=[{"vcard": card}]).contacts or []
    assert contact.stored().name == "Grace Hopper"
    assert contact.stored().vcard == card


def test_line_breaks_in_a_name_add_no_lines_to_the_vcard() -> None:
    [contact] = request(type="contact", contacts=[{**ADA, "name": "A\nTEL:+666"}]).contacts or []
    assert len(contact.stored().vcard.splitlines()) == 6


def test_fields_of_other_types_are_ignored() -> None:
    assert request(type="text", message="x", poll=None).poll is None
