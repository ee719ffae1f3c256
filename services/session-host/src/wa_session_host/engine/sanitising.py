"""Strings of the engine, made storable. The peer is hostile: anybody on WhatsApp writes them."""

import re
from dataclasses import fields, is_dataclass, replace
from typing import Any, TypeVar

from pydantic import BaseModel

Value = TypeVar("Value")

_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


def sanitised(value: Value) -> Value:
    """The value with U+FFFD in place of each U+0000 and each lone surrogate.

    Postgres cannot store the first, and UTF-8 has no form of the second.
    Looks into dataclasses, pydantic models, lists, tuples and dictionaries. Returns the value itself
    if nothing changed.
    """
    changed: Any = value
    if isinstance(value, str):
        return _UNSTORABLE.sub("\ufffd", value) if _UNSTORABLE.search(value) else value  # type: ignore[return-value]
    if isinstance(value, dict):
        changed = {sanitised(key): sanitised(one) for key, one in value.items()}
    elif isinstance(value, list | tuple):
        changed = type(value)(map(sanitised, value))
    elif is_dataclass(value) and not isinstance(value, type):
        changes = _changes(
            {one.name: getattr(value, one.name) for one in fields(value) if one.init}
        )
        changed = replace(value, **changes) if changes else value
    elif isinstance(value, BaseModel):
        changes = _changes(dict(value))
        changed = value.model_copy(update=changes) if changes else value
    result: Value = changed
    return result


def _changes(values: dict[str, Any]) -> dict[str, Any]:
    """The values that are not storable, made so."""
    cleaned = {name: sanitised(value) for name, value in values.items()}
    return {name: value for name, value in cleaned.items() if value != values[name]}
