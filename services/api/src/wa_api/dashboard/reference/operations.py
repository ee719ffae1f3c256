"""The OpenAPI document as data for the reference page."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from wa_api.dashboard.reference.example_bodies import example_of, resolved

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
    """One method of one path. `access` names the accepted keys; empty means public.

    `media_type` is of the body, None without one; `example` a body as JSON, None for a file.
    """

    id: str
    method: str
    path: str
    summary: str
    description: str
    access: Sequence[str]
    parameters: Sequence[Field]
    body: Sequence[Field]
    media_type: str | None
    example: str | None
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
        access=_access(operation),
        parameters=[
            _field(
                *(document, found["name"], found.get("schema", {}), found),
                place=found["in"],
                required=found.get("required", False),
            )
            for found in operation.get("parameters", [])
        ],
        body=fields_of(document, body),
        media_type=next(iter(content), None),
        example=_example(document, content),
        answers=[
            Answer(status, answer.get("description", ""), tuple(answer.get("content", {})))
            for status, answer in sorted(operation["responses"].items())
        ],
    )


def _access(operation: Schema) -> Sequence[str]:
    """The accepted keys, an API key with its scopes."""
    needs = {
        name: scopes for need in operation.get("security", []) for name, scopes in need.items()
    }
    return [
        f"{name} ({' or '.join(scopes)})" if scopes else name
        for name, scopes in sorted(needs.items())
    ]


def _example(document: Schema, content: Schema) -> str | None:
    described = content.get("application/json")
    if described is None:
        return None
    example = example_of(document, described["schema"])
    return json.dumps(example, indent=2, ensure_ascii=False)


def fields_of(document: Mapping[str, Any], schema: Schema) -> Sequence[Field]:
    """The fields of an object schema, in the document's order."""
    schema = resolved(document, schema)
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
    schema = resolved(document, schema)
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
