"""Routes for webhook endpoints and their deliveries."""

from collections.abc import Sequence
from typing import Annotated, TypeVar
from urllib.parse import urlsplit
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import Field

from wa_api.access.caller import Caller
from wa_api.access.callers import operator_with
from wa_api.access.scopes import Scope
from wa_api.events.patterns import CHOICES, UnknownEvent, events_meant
from wa_api.http.documented import Cursor, errors, json_body
from wa_api.http.models import Body, Text
from wa_api.http.paging import Page, place_of
from wa_api.http.parts import Part
from wa_api.http.problems import Problem, invalid_field, not_found
from wa_api.http.request_body import read_json
from wa_api.settings import Settings
from wa_api.webhooks.deliveries import Deliveries, DeliveryShown, DeliveryStatus, EventForgotten
from wa_api.webhooks.delivering.addresses import LENGTH_LIMIT, UrlRefused, check_url
from wa_api.webhooks.endpoints import (
    Endpoint,
    EndpointChange,
    Endpoints,
    EndpointWithSecret,
    NoSuchSession,
)
from wa_api.webhooks.headers import Headers

router = APIRouter(prefix="/api/webhooks", tags=["webhooks"])

MayManage = Annotated[Caller, operator_with(Scope.WEBHOOKS_WRITE)]

NO_STORE = {"Cache-Control": "no-store"}

Found = TypeVar("Found")
Url = Annotated[
    Text,
    Field(
        max_length=LENGTH_LIMIT,
        description="http or https, of a public address.",
        examples=["https://example.com/whatsapp"],
    ),
]
Events = Annotated[
    list[Annotated[Text, Field(json_schema_extra={"enum": list(CHOICES)})]],
    Field(
        min_length=1,
        max_length=50,
        description="Names such as `message.sent`, or patterns such as `message.*`; null: all.",
        examples=[["message.received", "session.*"]],
    ),
]


class NewWebhook(Body):
    """A new endpoint. Without `sessionId`, it receives the events of all sessions."""

    url: Url
    events: Events | None = None
    session_id: UUID | None = None
    include_media: Annotated[
        bool, Field(description="`message.received` has `mediaUrl`, a link to its media that ends.")
    ] = False
    headers: Headers | None = None


class WebhookChange(Body):
    """Fields to change. `paused: false` resumes. `headers` replace all former ones."""

    url: Url | None = None
    events: Events | None = None
    headers: Headers | None = None
    paused: bool | None = None
    include_media: bool | None = None


@router.post(
    "",
    summary="Add an endpoint",
    status_code=201,
    responses=errors(400, 401, 403, 404, 408, 413, 415, 503),
    openapi_extra=json_body(NewWebhook),
)
async def create_webhook(
    request: Request,
    response: Response,
    settings: Part[Settings],
    endpoints: Part[Endpoints],
    caller: MayManage,
) -> EndpointWithSecret:
    """The endpoint receives events from now on. Only this response contains the secret."""
    wanted = await read_json(request, NewWebhook)
    _check_events(wanted.events)
    await _check_url(settings, wanted.url)
    session_id = None if caller.sessions is None else caller.one_session(wanted.session_id)
    try:
        made = await endpoints.create(
            caller.actor,
            wanted.url,
            wanted.events,
            session_id or wanted.session_id,
            wanted.headers,
            include_media=wanted.include_media,
        )
    except NoSuchSession as error:
        raise not_found("session") from error
    response.headers.update(NO_STORE)
    response.headers["Location"] = f"/api/webhooks/{made.id}"
    return made


@router.get("", summary="List endpoints, newest first", responses=errors(400, 401, 403, 503))
async def list_webhooks(
    endpoints: Part[Endpoints],
    caller: MayManage,
    *,
    session_id: Annotated[
        UUID | None,
        Query(alias="sessionId", description="Those that get this session's events."),
    ] = None,
    cursor: Cursor = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
) -> Page[Endpoint]:
    """Each with its backlog and the reason for a pause."""
    page = place_of(cursor)
    return await endpoints.page(page, limit, for_session=session_id, among=caller.sessions)


async def require_endpoint(
    webhook_id: UUID, endpoints: Part[Endpoints], caller: MayManage
) -> Endpoint:
    """The endpoint of the path. A key that has its sessions sees only their endpoints.

    Raises:
        Problem: 404.
    """
    endpoint = await endpoints.one(webhook_id)
    if endpoint is None or not (caller.sessions is None or endpoint.session_id in caller.sessions):
        raise not_found("webhook")
    return endpoint


Named = Annotated[Endpoint, Depends(require_endpoint)]


@router.get("/{webhook_id}", summary="One endpoint", responses=errors(400, 401, 403, 404, 503))
async def get_webhook(endpoint: Named) -> Endpoint:
    """The current state of the endpoint."""
    return endpoint


@router.patch(
    "/{webhook_id}",
    summary="Change, pause or resume an endpoint",
    responses=errors(400, 401, 403, 404, 408, 413, 415, 503),
    openapi_extra=json_body(WebhookChange),
)
async def change_webhook(
    endpoint: Named,
    request: Request,
    settings: Part[Settings],
    endpoints: Part[Endpoints],
    caller: MayManage,
) -> Endpoint:
    """Waiting deliveries use the new URL. Resuming sends them at once."""
    change = await read_json(request, WebhookChange)
    _check_events(change.events)
    if change.url is not None:
        await _check_url(settings, change.url)
        if endpoint.header_names and not change.headers:
            _check_same_host(endpoint.url, change.url)
    if named := _named(change):
        wanted = EndpointChange(
            *(named, change.url, change.events, change.paused),
            *(change.headers, change.include_media),
        )
        await endpoints.change(caller.actor, endpoint.id, wanted)
    return _or_not_found(await endpoints.one(endpoint.id))


@router.delete(
    "/{webhook_id}",
    summary="Remove an endpoint",
    status_code=204,
    responses=errors(400, 401, 403, 404, 503),
)
async def delete_webhook(
    endpoint: Named, endpoints: Part[Endpoints], caller: MayManage
) -> Response:
    """Also deletes its deliveries, including waiting ones."""
    if not await endpoints.delete(caller.actor, endpoint.id):
        raise not_found("webhook")
    return Response(status_code=204)


@router.post(
    "/{webhook_id}/secret",
    summary="Rotate the secret",
    responses=errors(400, 401, 403, 404, 503),
)
async def rotate_webhook_secret(
    endpoint: Named, response: Response, endpoints: Part[Endpoints], caller: MayManage
) -> EndpointWithSecret:
    """The new secret is shown only once. The old one also signs until `formerSecretUntil`."""
    response.headers.update(NO_STORE)
    return _or_not_found(await endpoints.rotate_secret(caller.actor, endpoint.id))


@router.post(
    "/{webhook_id}/test",
    summary="Try an endpoint",
    status_code=202,
    responses=errors(400, 401, 403, 404, 503),
)
async def test_webhook(endpoint: Named, deliveries: Part[Deliveries]) -> DeliveryShown:
    """Makes one attempt with a `webhook.test` event. The result is in the endpoint's deliveries."""
    return await deliveries.test(endpoint.id, endpoint.session_id)


@router.get(
    "/{webhook_id}/deliveries",
    summary="Deliveries of an endpoint, newest first",
    responses=errors(400, 401, 403, 404, 503),
)
async def list_webhook_deliveries(
    endpoint: Named,
    deliveries: Part[Deliveries],
    *,
    status: DeliveryStatus | None = None,
    cursor: Cursor = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
) -> Page[DeliveryShown]:
    """Each with its number of attempts and the last attempt's status and duration."""
    return await deliveries.page(endpoint.id, status, place_of(cursor), limit)


@router.post(
    "/{webhook_id}/deliveries/{delivery_id}/redeliver",
    summary="Deliver once more",
    status_code=202,
    responses=errors(400, 401, 403, 404, 410, 503),
)
async def redeliver(
    endpoint: Named, delivery_id: UUID, deliveries: Part[Deliveries]
) -> DeliveryShown:
    """Sends the same body and `webhook-id` again, outside the session's order, with new retries."""
    try:
        found = await deliveries.redeliver(endpoint.id, delivery_id)
    except EventForgotten as error:
        raise Problem(
            "event_gone", "The event is older than RETENTION_DAYS and cannot be had any more."
        ) from error
    if found is None:
        raise not_found("delivery")
    return found


async def _check_url(settings: Settings, url: str) -> None:
    try:
        await check_url(url, settings.webhook_allowed_hosts)
    except UrlRefused as error:
        raise invalid_field("url", str(error)) from error


def _named(change: WebhookChange) -> frozenset[str]:
    """The fields that change something: null is a value of `events` and `headers` alone."""
    return frozenset(
        name
        for name in change.model_fields_set
        if name in {"events", "headers"} or getattr(change, name) is not None
    )


def _check_same_host(former: str, url: str) -> None:
    """Nobody learns the values of headers by having them sent elsewhere."""
    if urlsplit(former)[:2] != urlsplit(url)[:2]:
        raise invalid_field(
            "headers", "'headers' must be given anew with the address of another host."
        )


def _check_events(events: Sequence[str] | None) -> None:
    try:
        events_meant(events or ())
    except UnknownEvent as error:
        raise invalid_field("events", f"'events' {error}.") from error


def _or_not_found(found: Found | None) -> Found:
    if found is None:
        raise not_found("webhook")
    return found
