"""What a change of an event's schema breaks for those who read the event."""

from collections.abc import Iterator, Mapping
from typing import Any

Schema = Mapping[str, Any]


def breaks(old: Schema, new: Schema) -> list[str]:
    """Sentences about what a reader of the old shape cannot rely on in the new one; none is good.

    Fields may be added, an enumeration may get more values, and what was optional may become
    certain. Nothing may go, change its type or format, become null or absent.
    """
    return list(_Comparison(old, new).of(old, new, "event"))


class _Comparison:
    """Two whole schemas, in which references are looked up."""

    def __init__(self, old: Schema, new: Schema) -> None:
        self._old = old
        self._new = new

    def of(self, old: Schema, new: Schema, at: str) -> Iterator[str]:
        """What breaks below one place."""
        old_forms = dict(_forms(old, self._old))
        new_forms = dict(_forms(new, self._new))
        if surprising := sorted(new_forms.keys() - old_forms.keys()):
            yield f"{at} was {' or '.join(sorted(old_forms))} and may be {', '.join(surprising)}"
        for kind in old_forms.keys() & new_forms.keys():
            yield from self._same_type(old_forms[kind], new_forms[kind], at)

    def _same_type(self, old: Schema, new: Schema, at: str) -> Iterator[str]:
        if old.get("format") != new.get("format"):
            yield f"{at} had the format {old.get('format')} and has {new.get('format')}"
        if (values := _values(old)) is not None:
            now = _values(new)
            gone = values if now is None else values - now
            if gone:
                yield f"{at} no longer names {', '.join(sorted(map(str, gone)))}"
        properties = new.get("properties", {})
        for name, schema in old.get("properties", {}).items():
            if name not in properties:
                yield f"{at}.{name} is gone"
                continue
            if name in old.get("required", ()) and name not in new.get("required", ()):
                yield f"{at}.{name} may be absent"
            yield from self.of(schema, properties[name], f"{at}.{name}")


def _forms(schema: Schema, whole: Schema) -> Iterator[tuple[str, Schema]]:
    """The types that a value may have, each with what is said of it."""
    reference = schema.get("$ref")
    if isinstance(reference, str):
        yield from _forms(whole["$defs"][reference.rpartition("/")[2]], whole)
    elif "anyOf" in schema:
        for option in schema["anyOf"]:
            yield from _forms(option, whole)
    elif "const" in schema:
        yield type(schema["const"]).__name__, schema
    else:
        yield str(schema.get("type", "any")), schema


def _values(schema: Schema) -> set[Any] | None:
    if "const" in schema:
        return {schema["const"]}
    return set(schema["enum"]) if "enum" in schema else None
