"""Reference pages, rendered from the OpenAPI and AsyncAPI documents."""

from fastapi import APIRouter, Request, Response

from wa_api.access.sign_in import SignIn
from wa_api.dashboard.pages import page
from wa_api.dashboard.reference.errors import ERRORS
from wa_api.dashboard.reference.events import event_reference_of
from wa_api.dashboard.reference.operations import reference_of
from wa_api.http.parts import Part
from wa_api.http.problems import ERROR_REFERENCE
from wa_contracts.asyncapi import as_text, asyncapi_document

router = APIRouter(include_in_schema=False)


@router.get("/docs")
async def docs(request: Request, sign_in: Part[SignIn]) -> Response:
    """All operations with parameters, body and responses."""
    return page("reference.html", request, sign_in, reference=reference_of(request.app.openapi()))


@router.get("/docs/events")
async def events(request: Request, sign_in: Part[SignIn]) -> Response:
    """All events with fields and an example."""
    reference = event_reference_of(asyncapi_document())
    return page("events_reference.html", request, sign_in, reference=reference)


@router.get(ERROR_REFERENCE)
async def error_reference(request: Request, sign_in: Part[SignIn]) -> Response:
    """All codes of errors, each in a row with its own anchor."""
    return page("errors_reference.html", request, sign_in, groups=ERRORS)


@router.get("/asyncapi.json")
async def asyncapi() -> Response:
    """The AsyncAPI 3 document of the events on RabbitMQ."""
    return Response(as_text(asyncapi_document()), media_type="application/json")
