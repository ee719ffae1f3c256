"""Strings of the engine, made storable. The peer is hostile: anybody on WhatsApp writes them."""

from dataclasses import fields, is_dataclass, replace
from typing import Any, TypeVar

from pydantic import BaseModel

Value = TypeVar("Value")


def sanitised(value: Value) -> Value:
    """The value with U+FFFD in place of each U+0000, which Postgres cannot store.

    Looks into dataclasses, pydantic models, lists, tuples and dictionaries. Returns the value itself
    if nothing changed.
    """
    changed: Any = value
    if isinstance(value, str):
        return value.replace("\x00", "\ufffd") if "\x00" in value else value  # type: ignore[return-value]
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
