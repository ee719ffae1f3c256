"""Reads request bodies: limited in size and time, JSON only, with an error per field."""

import asyncio
from typing import TypeVar

from fastapi import Request
from pydantic import BaseModel, ValidationError

from wa_api.http.problems import Problem, details_of, invalid_request

BODY_LIMIT = 256 * 1024
BODY_SECONDS = 30.0

Model = TypeVar("Model", bound=BaseModel)


async def read_body(request: Request, limit: int = BODY_LIMIT) -> bytes:
    """Read the whole body, at most `limit` bytes.

    Raises:
        Problem: 413 once the body exceeds the limit; 408 after 30 s.
    """
    declared = request.headers.get("content-length", "")
    if declared.isdigit() and int(declared) > limit:
        raise _too_large(limit)
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_SECONDS):
            async for chunk in request.stream():
                body += chunk
                if len(body) > limit:
                    raise _too_large(limit)
    except TimeoutError as error:
        raise Problem(
            "request_too_slow", f"The body was not there within {BODY_SECONDS:g} seconds."
        ) from error
    return bytes(body)


async def read_json(request: Request, model: type[Model], limit: int = BODY_LIMIT) -> Model:
    """Read the body as JSON, at most `limit` bytes, and validate it.

    Raises:
        Problem: 408, 413 or 415; 400 with all invalid fields.
    """
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "application/json":
        raise Problem(
            "unsupported_media_type", "The body must be JSON, with Content-Type: application/json."
        )
    body = await read_body(request, limit)
    try:
        return model.model_validate_json(body)
    except ValidationError as error:
        raise invalid_request(details_of(error.errors(include_url=False))) from error


def _too_large(limit: int) -> Problem:
    return Problem("body_too_large", f"The body is larger than {limit // 1024} KiB.")
