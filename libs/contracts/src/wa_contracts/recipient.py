"""The `to` field: who receives a message."""

import re
from typing import Annotated

from pydantic import AfterValidator

_NUMBER = re.compile(r"[1-9][0-9]{6,14}")
_JID = re.compile(r"(?P<user>[0-9]{5,20}(?:-[0-9]{5,20})?)@(?P<server>s\.whatsapp\.net|lid|g\.us)")
RECIPIENT_PATTERN = (
    r"^([1-9][0-9]{6,14}(@s\.whatsapp\.net)?|[0-9]{5,20}(-[0-9]{5,20})?@(lid|g\.us))$"
)
"""The pattern of `parse_recipient`, for schemas."""
_EXAMPLE = "Write country code and number in digits only, for example 919876543210."


def parse_recipient(value: str) -> str:
    """Validate a telephone number (digits, with country code) or a full JID; return it unchanged.

    Raises:
        ValueError: With a sentence that names the error and the right form.
    """
    if _NUMBER.fullmatch(value):
        return value
    if "@" in value:
        jid = _JID.fullmatch(value)
        if jid is None:
            raise ValueError(
                "'to' is not a WhatsApp address. "
                "A full JID ends with @s.whatsapp.net, @lid or @g.us and has digits before it."
            )
        if jid["server"] == "s.whatsapp.net" and not _NUMBER.fullmatch(jid["user"]):
            raise ValueError(f"'to' has no valid telephone number before the @. {_EXAMPLE}")
        return value
    raise ValueError(f"'to' {_complaint(value)}. {_EXAMPLE}")


def _complaint(value: str) -> str:
    if not value:
        return "is empty"
    if value.startswith("+"):
        return "starts with '+', which must be left out"
    if any(character.isspace() for character in value):
        return "contains spaces, which must be left out"
    if not (value.isascii() and value.isdigit()):
        return "contains characters that are not digits"
    if value.startswith("0"):
        return "starts with 0; a country code never does"
    if len(value) < 7:
        return "is too short for a country code and number (7 digits at least)"
    return "is too long for a country code and number (15 digits at most)"


Recipient = Annotated[str, AfterValidator(parse_recipient)]


def mask_number(value: str) -> str:
    """Mask a number or JID for logs, except the country code and the last two digits."""
    user, at, server = value.partition("@")
    if len(user) < 6:
        return "…" + at + server
    return f"{user[:2]}…{user[-2:]}{at}{server}"
