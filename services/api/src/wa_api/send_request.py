"""The body of a send, as clients write it."""

import hashlib
from typing import Annotated, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator
from pydantic.alias_generators import to_camel
from pydantic_core import PydanticCustomError

from wa_contracts.commands import MessageType
from wa_contracts.recipient import Recipient

TEXT_LIMIT = 65_536
REFERENCE_LIMIT = 128


def _without_nul(value: str) -> str:
    if "\x00" in value:
        raise ValueError("must not contain U+0000")
    return value


Text = Annotated[str, AfterValidator(_without_nul)]


class SendRequest(BaseModel):
    """One message to send. Unknown fields are ignored."""

    model_config = ConfigDict(
        frozen=True, extra="ignore", alias_generator=to_camel, validate_by_alias=True
    )

    to: Annotated[
        Recipient,
        Field(
            description="Country code and number in digits only, or a full JID.",
            examples=["919876543210"],
        ),
    ]
    type: MessageType
    message: Annotated[
        Text | None,
        Field(max_length=TEXT_LIMIT, description="The text, or the caption of media."),
    ] = None
    media_url: Annotated[
        Text | None,
        Field(max_length=8192, description="http(s) URL, or a path in the media directory."),
    ] = None
    file_name: Annotated[Text | None, Field(max_length=255)] = None
    reference: Annotated[
        Text | None, Field(max_length=REFERENCE_LIMIT, description="The client's own reference.")
    ] = None

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.type is MessageType.TEXT:
            if not self.message:
                raise PydanticCustomError("message", "'message' is required for type 'text'.")
        elif not self.media_url:
            raise PydanticCustomError("mediaUrl", f"'mediaUrl' is required for type '{self.type}'.")
        return self

    def fingerprint(self) -> str:
        """SHA-256 of what was asked for, in hexadecimal: the same for the same request."""
        return hashlib.sha256(b"send 1\n" + self.model_dump_json().encode()).hexdigest()
