"""Request fields of messages that are no file: places, contacts, polls, reactions, replies."""

import re
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema, model_validator
from pydantic_core import PydanticCustomError

from wa_api.http.models import Body, Text
from wa_contracts import content
from wa_contracts.internal.content import MessageReference, Quote
from wa_contracts.recipient import RECIPIENT_PATTERN, parse_recipient

NUMBER_PATTERN = r"^[1-9][0-9]{6,14}$"
NAME_LIMIT = 255
QUESTION_LIMIT = 255
OPTION_LIMIT = 100
VCARD_LIMIT = 8192
EMOJI_LIMIT = 32
ID_LIMIT = 128
_ESCAPED = re.compile(r"([\\;,])")
_FULL_NAME = re.compile(r"^FN(?:;[^:\r\n]*)?:(.+?)\r?$", re.MULTILINE | re.IGNORECASE)


def _address(value: str) -> str:
    try:
        return parse_recipient(value)
    except ValueError as error:
        raise ValueError(str(error).replace("'to'", "the address")) from None


Address = Annotated[
    str, AfterValidator(_address), WithJsonSchema({"type": "string", "pattern": RECIPIENT_PATTERN})
]
Name = Annotated[Text, Field(min_length=1, max_length=NAME_LIMIT)]
AnyId = Annotated[Text, Field(min_length=1, max_length=ID_LIMIT)]


class Location(Body):
    """A place, in degrees."""

    latitude: Annotated[float, Field(ge=-90, le=90, allow_inf_nan=False)]
    longitude: Annotated[float, Field(ge=-180, le=180, allow_inf_nan=False)]
    name: Name | None = None
    address: Name | None = None

    def stored(self) -> content.Location:
        """For the command."""
        return content.Location(**self.model_dump())


class ContactCard(Body):
    """A contact: name and number, or a whole vCard."""

    name: Name | None = None
    phone_number: Annotated[str | None, Field(pattern=NUMBER_PATTERN)] = None
    organization: Name | None = None
    vcard: Annotated[Text | None, Field(max_length=VCARD_LIMIT)] = None

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.vcard is not None:
            if not self.vcard.lstrip().upper().startswith("BEGIN:VCARD"):
                raise PydanticCustomError("vcard", "'vcard' must begin with BEGIN:VCARD.")
            if self.name is None and _FULL_NAME.search(self.vcard) is None:
                raise PydanticCustomError("vcard", "'vcard' has no full name (FN).")
        elif self.name is None or self.phone_number is None:
            raise PydanticCustomError(
                "contact", "'name' and 'phoneNumber' are required, or 'vcard'."
            )
        return self

    def stored(self) -> content.Contact:
        """For the command, as a vCard."""
        if self.vcard is not None:
            found = _FULL_NAME.search(self.vcard)
            return content.Contact(name=self.name or (found[1] if found else ""), vcard=self.vcard)
        assert self.name is not None
        name, number = _escaped(self.name), self.phone_number
        lines = ["BEGIN:VCARD", "VERSION:3.0", f"N:;{name};;;", f"FN:{name}"]
        if self.organization is not None:
            lines.append(f"ORG:{_escaped(self.organization)};")
        lines += [f"TEL;type=CELL;type=VOICE;waid={number}:+{number}", "END:VCARD"]
        return content.Contact(name=self.name, vcard="\n".join(lines))


class Poll(Body):
    """A question with 2 to 12 options."""

    question: Annotated[Text, Field(min_length=1, max_length=QUESTION_LIMIT)]
    options: Annotated[
        list[Annotated[Text, Field(min_length=1, max_length=OPTION_LIMIT)]],
        Field(min_length=2, max_length=12, json_schema_extra={"uniqueItems": True}),
    ]
    selectable: Annotated[
        int, Field(ge=1, le=12, description="How many options a person may choose.")
    ] = 1

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if len(set(self.options)) < len(self.options):
            raise PydanticCustomError("options", "'options' must differ.")
        if self.selectable > len(self.options):
            raise PydanticCustomError(
                "selectable", "'selectable' is more than the poll has options."
            )
        return self

    def stored(self) -> content.Poll:
        """For the command."""
        return content.Poll(
            question=self.question, options=tuple(self.options), selectable=self.selectable
        )


class Reaction(Body):
    """An emoji on a message; an empty one takes it back."""

    message_id: Annotated[AnyId, Field(description="The gateway's id, or WhatsApp's.")]
    emoji: Annotated[Text, Field(max_length=EMOJI_LIMIT)]


class Quoted(Body):
    """The message to quote. With a `sender` it need not be known to the gateway."""

    message_id: AnyId
    sender: Address | None = None
    text: Text | None = None

    def stored(self) -> Quote | None:
        """For the command; None if the gateway must know the message."""
        if self.sender is None:
            return None
        sender = self.sender if "@" in self.sender else f"{self.sender}@s.whatsapp.net"
        of = MessageReference(message_id=self.message_id, sender=sender)
        return Quote(of=of, text=self.text)


def _by_its_id(value: object) -> object:
    return {"messageId": value} if isinstance(value, str) else value


ReplyTo = Annotated[
    Quoted,
    BeforeValidator(_by_its_id, json_schema_input_type=AnyId | Quoted),
    Field(description="The gateway's id of the message, WhatsApp's, or the message itself."),
]

ALL = "all"
"""A mention of everybody in the group."""


def _mention(value: str) -> str:
    return value if value == ALL else _address(value)


Mention = Annotated[
    str,
    AfterValidator(_mention),
    WithJsonSchema({"type": "string", "pattern": f"^all$|{RECIPIENT_PATTERN}"}),
]
Mentions = Annotated[
    list[Mention],
    Field(max_length=256, description="Numbers or JIDs of people, or `all` in a group."),
]

NEEDED: dict[str, Literal["location", "contacts", "poll", "reaction"]] = {
    "location": "location",
    "contact": "contacts",
    "poll": "poll",
    "reaction": "reaction",
}
"""The field that each of these types requires."""


def required_fields() -> list[dict[str, Any]]:
    """The schemas of `NEEDED`, for OpenAPI."""
    return [
        {
            "properties": {"type": {"enum": [kind]}, field: {"not": {"type": "null"}}},
            "required": [field],
        }
        for kind, field in NEEDED.items()
    ]


def _escaped(text: str) -> str:
    """A value of a vCard (RFC 2426, section 5)."""
    return _ESCAPED.sub(r"\\\1", " ".join(text.splitlines()))
