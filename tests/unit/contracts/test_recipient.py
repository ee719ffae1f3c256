"""The `to` field."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wa_contracts.recipient import mask_number, parse_recipient


@pytest.mark.parametrize(
    "good",
    [
        "919876543210",
        "12345678900",
        "447911123456",
        "1234567",
        "123456789012345",
        "919876543210@s.whatsapp.net",
        "123456789012345678@lid",
        "120363012345678901@g.us",
        "919876543210-1577836800@g.us",
    ],
)
def test_what_is_right_stays_as_it_is(good: str) -> None:
    assert parse_recipient(good) == good


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        ("", "empty"),
        ("+919876543210", "'+'"),
        ("91 98765 43210", "spaces"),
        ("91-9876543210", "not digits"),
        ("٩١٩٨٧٦٥٤٣٢١٠", "not digits"),
        ("0919876543210", "starts with 0"),
        ("123456", "too short"),
        ("1234567890123456", "too long"),
        ("919876543210\n", "spaces"),
        ("someone@example.com", "JID"),
        ("@s.whatsapp.net", "JID"),
        ("0123456789@s.whatsapp.net", "telephone number"),
    ],
)
def test_what_is_wrong_is_said_with_what_would_be_right(bad: str, says: str) -> None:
    with pytest.raises(ValueError, match=r"^'to' ") as raised:
        parse_recipient(bad)
    assert says in str(raised.value)
    assert "919876543210" in str(raised.value) or "@s.whatsapp.net" in str(raised.value)


@given(st.text())
def test_any_text_is_a_recipient_or_a_value_error(text: str) -> None:
    try:
        assert parse_recipient(text) == text
    except ValueError as error:
        assert str(error).startswith("'to' ")  # noqa: PT017 - either ending is right


def test_logs_never_show_a_whole_number() -> None:
    assert mask_number("919876543210") == "91…10"
    assert mask_number("919876543210@s.whatsapp.net") == "91…10@s.whatsapp.net"
    assert "12345" not in mask_number("12345")
