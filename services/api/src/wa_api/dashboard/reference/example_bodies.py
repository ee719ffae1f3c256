"""Example bodies from JSON schemas, for a reader to change and send."""

from collections.abc import Mapping
from typing import Any

Schema = Mapping[str, Any]

_BY_FORMAT = {
    "uuid": "00000000-0000-0000-0000-000000000000",
    "uri": "https://example.com/",
}
_DEPTH = 5


def example_of(document: Schema, schema: Schema, depth: int = 0) -> Any:
    """A value with the required fields of an object, or with its first one if none is required."""
    schema = resolved(document, schema)
    if "example" in schema:
        return schema["example"]
    for name in ("examples", "enum"):
        if schema.get(name):
            return schema[name][0]
    if "const" in schema:
        return schema["const"]
    if schema.get("type") == "object" or "properties" in schema:
        return _object(document, schema, depth)
    if schema.get("type") == "array" and depth < _DEPTH:
        return [example_of(document, schema.get("items", {}), depth + 1)]
    if options := [one for one in schema.get("anyOf", ()) if one.get("type") != "null"]:
        return example_of(document, options[0], depth)
    return _plain(schema)


def _object(document: Schema, schema: Schema, depth: int) -> dict[str, Any]:
    required = set(schema.get("required", ()))
    for option in schema.get("anyOf", ())[:1]:  # of the first kind that is described
        required |= set(option.get("required", ()))
    if depth >= _DEPTH:
        return {}
    fields = schema.get("properties", {})
    wanted = [name for name in fields if name in required] or list(fields)[:1]
    return {name: example_of(document, fields[name], depth + 1) for name in wanted}


def _plain(schema: Schema) -> Any:
    match schema.get("type"):
        case "boolean":
            return True
        case "integer" | "number":
            return schema.get("minimum", 1)
        case _:
            return _BY_FORMAT.get(str(schema.get("format")), "…")


def resolved(document: Schema, schema: Schema) -> Schema:
    """Resolve a `$ref` into the document's components or the schema's own definitions."""
    reference = schema.get("$ref")
    if not isinstance(reference, str):
        return schema
    found: Any = document
    for part in reference.removeprefix("#/").split("/"):
        found = found.get(part, {})
    assert isinstance(found, Mapping)
    return found
