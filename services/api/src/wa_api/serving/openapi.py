"""The OpenAPI document, corrected to the actual responses."""

from collections.abc import Iterator
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from wa_api.webhooks.described import webhooks_of
from wa_contracts.asyncapi import asyncapi_document

_GENERATED_422 = "Validation Error"
_METHODS = frozenset({"get", "put", "post", "delete", "patch"})


def install_openapi(app: FastAPI, version: str, base_path: str) -> None:
    """Serve a document without FastAPI's 422 responses: invalid requests are 400 here."""

    def document() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _document(app, version, base_path)
        return app.openapi_schema

    app.openapi = document  # type: ignore[method-assign]


def _document(app: FastAPI, version: str, base_path: str) -> dict[str, Any]:
    schema = get_openapi(
        title="WhatsApp Multi-Session Manager",
        version=version,
        description="Send WhatsApp messages through many numbers, and manage their sessions.",
        routes=app.routes,
        servers=[{"url": base_path}] if base_path else None,
    )
    schemas = schema["components"]["schemas"]
    for operation in _operations(schema):
        answer = operation["responses"].get("422")
        if answer is not None and answer.get("description") == _GENERATED_422:
            del operation["responses"]["422"]
        for parameter in operation.get("parameters", ()):
            parameter["schema"] = _never_null(parameter["schema"])
        for content in operation.get("requestBody", {}).get("content", {}).values():
            schemas.update(content["schema"].pop("$defs", {}))
    for unused in ("HTTPValidationError", "ValidationError"):
        schema.get("components", {}).get("schemas", {}).pop(unused, None)
    _add_webhooks(schema)
    return schema


def _never_null(schema: dict[str, Any]) -> dict[str, Any]:
    """Remove null: a parameter may be absent, but never null."""
    options = [one for one in schema.get("anyOf", ()) if one.get("type") != "null"]
    if len(options) != 1:
        return schema
    rest = {key: value for key, value in schema.items() if key not in {"anyOf", "default"}}
    return {**options[0], **rest}


def _add_webhooks(schema: dict[str, Any]) -> None:
    events = asyncapi_document()
    schema["webhooks"] = webhooks_of(events)
    schemas = schema["components"]["schemas"]
    for name, described in events["components"]["schemas"].items():
        schemas.setdefault(name, described)


def _operations(schema: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for path in schema["paths"].values():
        for method, operation in path.items():
            if method in _METHODS:
                yield operation
