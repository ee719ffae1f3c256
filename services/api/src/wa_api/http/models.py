"""Base classes of request and response bodies, with camelCase names in JSON."""

from datetime import UTC, datetime
from typing import Annotated

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, WithJsonSchema
from pydantic.alias_generators import to_camel


def _without_nul(value: str) -> str:
    if "\x00" in value:
        raise ValueError("must not contain U+0000")
    return value


Text = Annotated[
    str,
    AfterValidator(_without_nul),
    WithJsonSchema({"type": "string", "pattern": r"^[^\u0000]*$"}),
]
"""A string without U+0000, which Postgres cannot store."""


def in_utc(moment: datetime) -> datetime:
    """The same moment in UTC.

    Raises:
        ValueError: It lies outside of the years 1 to 9999.
    """
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise ValueError("must lie in the years 1 to 9999") from None


Moment = Annotated[AwareDatetime, AfterValidator(in_utc)]
"""A time with a zone, in UTC."""


class View(BaseModel):
    """A value in a response."""

    model_config = ConfigDict(
        frozen=True, alias_generator=to_camel, validate_by_name=True, serialize_by_alias=True
    )


class Body(BaseModel):
    """A request body. Unknown fields are ignored."""

    model_config = ConfigDict(
        frozen=True, extra="ignore", alias_generator=to_camel, validate_by_alias=True
    )
