"""The OpenAPI document as data for the reference page."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

METHODS = ("get", "post", "put", "patch", "delete")

Schema = Mapping[str, Any]


@dataclass(frozen=True)
class Field:
    """A parameter, or a field of a body."""

    name: str
    kind: str
    place: str
    required: bool
    description: str


@dataclass(frozen=True)
class Answer:
    """One possible status of an operation."""

    status: str
    description: str
    media_types: Sequence[str]


@dataclass(frozen=True)
class Operation:
    """One method of one path. `access` names the accepted keys; empty means public."""

    id: str
    method: str
    path: str
    summary: str
    description: str
    access: Sequence[str]
    parameters: Sequence[Field]
    body: Sequence[Field]
    answers: Sequence[Answer]


@dataclass(frozen=True)
class Group:
    title: str
    operations: Sequence[Operation]


@dataclass(frozen=True)
class Reference:
    title: str
    version: str
    groups: Sequence[Group]


def reference_of(document: Mapping[str, Any]) -> Reference:
    """Convert an OpenAPI document, in the document's order."""
    grouped: dict[str, list[Operation]] = {}
    for path, method, operation in _operations(document):
        title = (operation.get("tags") or ["other"])[0]
        grouped.setdefault(title, []).append(_operation(document, path, method, operation))
    info = document["info"]
    groups = [Group(title, operations) for title, operations in grouped.items()]
    return Reference(info["title"], info["version"], groups)


def _operations(document: Mapping[str, Any]) -> Iterator[tuple[str, str, Schema]]:
    for path, methods in document["paths"].items():
        for method in METHODS:
            if method in methods:
                yield path, method, methods[method]


def _operation(document: Mapping[str, Any], path: str, method: str, operation: Schema) -> Operation:
    slug = "-".join(part.strip("{}") for part in path.split("/") if part)
    content = operation.get("requestBody", {}).get("content", {})
    body: Schema = next(iter(content.values()), {"schema": {}})["schema"]
    return Operation(
        id=f"{method}-{slug}",
        method=method.upper(),
        path=path,
        summary=operation.get("summary", ""),
        description=operation.get("description", ""),
        access=sorted({name for need in operation.get("security", []) for name in need}),
        parameters=[
            _field(
                *(document, found["name"], found.get("schema", {}), found),
                place=found["in"],
                required=found.get("required", False),
            )
            for found in operation.get("parameters", [])
        ],
        body=fields_of(document, body),
        answers=[
            Answer(status, answer.get("description", ""), tuple(answer.get("content", {})))
            for status, answer in sorted(operation["responses"].items())
        ],
    )


def fields_of(document: Mapping[str, Any], schema: Schema) -> Sequence[Field]:
    """The fields of an object schema, in the document's order."""
    schema = _resolved(document, schema)
    required = set(schema.get("required", ()))
    return [
        _field(document, name, inner, inner, place="body", required=name in required)
        for name, inner in schema.get("properties", {}).items()
    ]


def _field(
    document: Mapping[str, Any],
    name: str,
    schema: Schema,
    described: Schema,
    *,
    place: str,
    required: bool,
) -> Field:
    kind = _kind(document, schema)
    return Field(name, kind, place, required, described.get("description", ""))


def _kind(document: Mapping[str, Any], schema: Schema) -> str:
    """A type in a few words: `string`, `"text" or "image"`, `integer, 1 to 200`."""
    schema = _resolved(document, schema)
    if options := schema.get("anyOf"):
        kinds = [_kind(document, option) for option in options if option.get("type") != "null"]
        return " or ".join(kinds)
    if "const" in schema:
        return json.dumps(schema["const"])
    if values := schema.get("enum"):
        return " or ".join(json.dumps(value) for value in values)
    kind = str(schema.get("format") or schema.get("type", "any"))
    if "minimum" in schema and "maximum" in schema:
        return f"{kind}, {schema['minimum']} to {schema['maximum']}"
    if "maxLength" in schema:
        return f"{kind}, up to {schema['maxLength']:,} characters"
    return kind


def _resolved(document: Mapping[str, Any], schema: Schema) -> Schema:
    """Resolve a `$ref` into the document's components or the schema's own definitions."""
    reference = schema.get("$ref")
    if not isinstance(reference, str):
        return schema
    found: Any = document
    for part in reference.removeprefix("#/").split("/"):
        found = found.get(part, {})
    assert isinstance(found, Mapping)
    return found
