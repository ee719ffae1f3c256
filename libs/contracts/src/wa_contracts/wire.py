"""The base of all wire models: frozen, camelCase in JSON, aware UTC times."""

from datetime import datetime
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, GetPydanticSchema
from pydantic.alias_generators import to_camel
from pydantic_core import core_schema

BIGGEST = 2**63 - 1
"""The largest integer of the event store."""
KEY_BYTES = 255
"""Limit of AMQP routing keys and queue names, in bytes."""


def storable(value: int) -> int:
    if not -BIGGEST <= value <= BIGGEST:
        raise ValueError("is too large")
    return value


def _as_key(value: str) -> str:
    if len(value.encode()) > KEY_BYTES:
        raise ValueError("is too long")
    return value


UtcDatetime = Annotated[
    datetime, GetPydanticSchema(lambda *_: core_schema.datetime_schema(tz_constraint=0))
]
"""Aware UTC. All writers use UTC, so no conversion is needed."""
Number = Annotated[int, AfterValidator(storable)]
Key = Annotated[str, AfterValidator(_as_key)]


class Wire(BaseModel):
    """A value with camelCase names in JSON and snake_case names in Python."""

    model_config = ConfigDict(
        frozen=True,
        alias_generator=to_camel,
        validate_by_name=True,
        validate_by_alias=True,
        serialize_by_alias=True,
        use_attribute_docstrings=True,
        defer_build=True,
    )
