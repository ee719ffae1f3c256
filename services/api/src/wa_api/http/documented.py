"""Shared parts of the OpenAPI document."""

from typing import Annotated, Any

from fastapi import Query
from pydantic import BaseModel

from wa_api.http.problems import ErrorBody

_DESCRIPTIONS = {
    400: "A field, parameter or header is missing or invalid.",
    401: "No, wrong or revoked key or token.",
    403: "An API key lacks the scope, or a CSRF token or a link's signature is missing or wrong.",
    404: "Not there; the code says what.",
    406: "None of the accepted media types can be had.",
    408: "The request did not come in time.",
    409: "The state does not allow it; the code says which.",
    410: "It was there and is gone for good.",
    413: "The body or the media is too large.",
    415: "The body is not JSON.",
    422: "The Idempotency-Key was used with another body.",
    429: "Too much; see Retry-After.",
    500: "It failed; the code says how.",
    503: "A dependency is away and nothing was accepted; see Retry-After.",
}


Cursor = Annotated[
    str | None,
    Query(description="`nextCursor` of the page before.", json_schema_extra={"format": "cursor"}),
]
"""The `cursor` parameter of a list."""


def errors(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The `responses` of a route that may return these errors: with 401 also 429 for wrong keys."""
    told = sorted({*statuses, 429} if 401 in statuses else statuses)
    return {status: {"model": ErrorBody, "description": _DESCRIPTIONS[status]} for status in told}


def json_body(model: type[BaseModel], *, required: bool = True) -> dict[str, Any]:
    """The `openapi_extra` of a route that reads its JSON body itself.

    Referenced schemas stay under `$defs` until the document is assembled (serving/openapi.py).
    """
    schema = model.model_json_schema(ref_template="#/components/schemas/{model}")
    content = {"application/json": {"schema": schema}}
    return {"requestBody": {"required": required, "content": content}}


def header(name: str, description: str, **schema: Any) -> dict[str, Any]:
    """A header for `parameters` of a route that reads it itself. The default type is string."""
    described = {"type": "string", "description": description, **schema, "title": name.title()}
    return {
        "name": name,
        "in": "header",
        "required": False,
        "schema": described,
        "description": description,
    }
