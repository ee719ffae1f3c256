"""The request body of a send."""

import hashlib
import re
from typing import Annotated, Any, Self
from uuid import UUID

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BeforeValidator,
    ConfigDict,
    Field,
    WithJsonSchema,
    model_validator,
)
from pydantic_core import PydanticCustomError, PydanticKnownError

from wa_api.http.models import Body, Text, in_utc
from wa_api.messages.content import (
    ALL,
    NEEDED,
    ContactCard,
    Location,
    Mentions,
    Poll,
    Reaction,
    ReplyTo,
    required_fields,
)
from wa_contracts.internal.commands import MessageType
from wa_contracts.recipient import RECIPIENT_PATTERN, Recipient

TEXT_LIMIT = 65_536
URL_LIMIT = 8192
REFERENCE_LIMIT = 128


def _by_type(schema: dict[str, Any]) -> None:
    """Describe in the schema what `_complete` checks."""
    needed = {"text": ["message"], "url": ["mediaUrl"], "upload": ["mediaId"]}
    media = [one.value for one in MessageType if one.has_media]
    kinds = {"text": ["text"], "url": media, "upload": media}
    schema["anyOf"] = [
        {
            "properties": {
                "type": {"enum": kinds[kind]},
                **{name: {"type": "string", "minLength": 1} for name in needed[kind]},
            },
            "required": needed[kind],
        }
        for kind in kinds
    ] + required_fields()


_RFC_3339 = re.compile(
    r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)", re.ASCII
)


def _rfc_3339(value: object) -> object:
    if isinstance(value, str) and _RFC_3339.fullmatch(value):
        return value
    raise PydanticCustomError(
        "sendAt",
        "'sendAt' must be an RFC 3339 time with a zone, for example 2026-01-02T15:04:05Z.",
    )


SendAt = Annotated[
    AwareDatetime,
    BeforeValidator(_rfc_3339),
    AfterValidator(in_utc),
    Field(
        description="RFC 3339 with a zone, from now to 30 days ahead: sent then, never earlier.",
    ),
]

SENDABLE = tuple(one.value for one in MessageType if not one.is_change)
"""What a client may send as `type`."""


def _sendable(value: object) -> object:
    if value in SENDABLE:
        return value
    *others, last = map(repr, SENDABLE)
    raise PydanticKnownError("enum", {"expected": f"{', '.join(others)} or {last}"})


VIEW_ONCE = {MessageType.IMAGE, MessageType.VIDEO, MessageType.VOICE}

FIRST_FIELDS = frozenset({"to", "type", "message", "media_url", "file_name", "reference"})
"""Fields whose absence is part of the stored fingerprints. Never add one."""


def _bounded(url: str) -> str:
    """A `data:` URL is as long as the body may be."""
    if len(url) > URL_LIMIT and not url[:5].lower() == "data:":
        raise PydanticCustomError("mediaUrl", f"'mediaUrl' has more than {URL_LIMIT} characters.")
    return url


MediaUrl = Annotated[
    Text,
    AfterValidator(_bounded),
    Field(description="http(s) URL, path in the media directory, or data: URL (base64)."),
]


class SendRequest(Body):
    """One message to send. Unknown fields are ignored."""

    model_config = ConfigDict(json_schema_extra=_by_type)

    session_id: Annotated[
        UUID | None,
        Field(description="The session to send through. Required, except with its own token."),
    ] = None
    to: Annotated[
        Recipient,
        Field(
            description="Country code and number in digits only, or a full JID.",
            examples=["919876543210"],
            json_schema_extra={"pattern": RECIPIENT_PATTERN},
        ),
    ]
    type: Annotated[
        MessageType,
        BeforeValidator(_sendable),
        WithJsonSchema({"type": "string", "enum": [*SENDABLE]}),
    ]
    message: Annotated[
        Text | None,
        Field(
            max_length=TEXT_LIMIT,
            description="The text, or the caption of image, video, document.",
            examples=["Hello World!"],
        ),
    ] = None
    media_url: MediaUrl | None = None
    media_id: Annotated[
        Text | None,
        Field(max_length=64, description="An upload's id, in the place of `mediaUrl`."),
    ] = None
    file_name: Annotated[Text | None, Field(max_length=255)] = None
    location: Location | None = None
    contacts: Annotated[list[ContactCard] | None, Field(min_length=1, max_length=50)] = None
    poll: Poll | None = None
    reaction: Reaction | None = None
    reply_to: ReplyTo | None = None
    mentions: Mentions | None = None
    link_preview: Annotated[
        bool | None,
        Field(description="Of a text: show title, description and picture of its first link."),
    ] = None
    view_once: Annotated[
        bool | None, Field(description="Phones show an image or a video once.")
    ] = None
    send_at: SendAt | None = None
    reference: Annotated[
        Text | None, Field(max_length=REFERENCE_LIMIT, description="The client's own reference.")
    ] = None

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.type is MessageType.TEXT:
            if not self.message:
                raise PydanticCustomError("message", "'message' is required for type 'text'.")
        elif self.type.has_media:
            if self.media_url and self.media_id:
                problem = "'mediaUrl' and 'mediaId' exclude each other: give one."
                raise PydanticCustomError("mediaUrl", problem)
            if not self.media_url and not self.media_id:
                problem = f"'mediaUrl' or 'mediaId' is required for type '{self.type}'."
                raise PydanticCustomError("mediaUrl", problem)
        elif getattr(self, field := NEEDED[self.type]) is None:
            raise PydanticCustomError(field, f"'{field}' is required for type '{self.type}'.")
        if self.mentions and ALL in self.mentions and not self.to.endswith("@g.us"):
            raise PydanticCustomError("mentions", "'mentions' has 'all', which needs a group.")
        if self.view_once and self.type not in VIEW_ONCE:
            raise PydanticCustomError("viewOnce", f"'viewOnce' does not go with '{self.type}'.")
        return self

    def fingerprint(self) -> str:
        """SHA-256 of the request in hexadecimal. Equal requests have equal fingerprints.

        Over versions, too: a field that is younger than FIRST_FIELDS counts only if it is given.
        """
        younger = set(type(self).model_fields) - FIRST_FIELDS
        absent = {name for name in younger if getattr(self, name) is None} | {"session_id"}
        return hashlib.sha256(
            b"send 1\n" + self.model_dump_json(exclude=absent).encode()
        ).hexdigest()
