"""The FastAPI application: routes and error handlers."""

import math
import time
from collections.abc import Callable

import structlog
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from fastapi.telemetry import TelemetryConfig
from starlette.exceptions import HTTPException
from starlette.routing import Match
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from wa_api.access import routes as sign_in
from wa_api.access.flood_gate import FloodGate
from wa_api.access.rate_limit import RateLimit
from wa_api.admin import audit_routes as audit
from wa_api.admin import key_routes as keys
from wa_api.dashboard import access_page
from wa_api.dashboard import fragments as dashboard_fragments
from wa_api.dashboard import home as dashboard
from wa_api.dashboard.pages import STATIC
from wa_api.dashboard.reference import routes as documentation
from wa_api.database.pool import DatabaseUnavailable
from wa_api.dead_letters import routes as dead_letters
from wa_api.events import routes as events
from wa_api.http import problems
from wa_api.http.paging import BadCursor
from wa_api.http.parts import Parts
from wa_api.http.problems import Problem
from wa_api.messages import change_routes as changes
from wa_api.messages import chat_routes as chats
from wa_api.messages import media_routes as media
from wa_api.messages import routes as messages
from wa_api.messages import send_route as send
from wa_api.owners.command_bus import BrokerUnavailable, ConfirmLost
from wa_api.owners.requests import OwnerRefused, OwnerSilent
from wa_api.serving import health
from wa_api.serving.metrics import ApiMetrics
from wa_api.serving.openapi import install_openapi
from wa_api.serving.security_headers import SecurityHeaders
from wa_api.sessions import qr
from wa_api.sessions import question_routes as questions
from wa_api.sessions import routes as sessions
from wa_api.uploads import routes as uploads
from wa_api.webhooks import routes as webhooks
from wa_runtime.media_store.store import NotStored, StoreUnavailable

log = structlog.get_logger()

VERSION = "0.1.0"
_ROUTERS = (
    messages.router,
    changes.router,
    chats.router,
    questions.router,
    media.router,
    media.links,
    uploads.router,
    sessions.router,
    sessions.admin,
    qr.router,
    events.router,
    dead_letters.router,
    webhooks.router,
    keys.router,
    audit.router,
    health.router,
    sign_in.router,
    dashboard.router,
    access_page.router,
    dashboard_fragments.router,
    documentation.router,
)


def build_app(parts: Parts, metrics: ApiMetrics, base_path: str = "") -> FastAPI:
    """Build the application, whose documents name the path of a proxy. FastAPI's documentation pages are off: they load from other hosts."""
    app = FastAPI(
        routes=[send.route],
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        telemetry=_NO_TELEMETRY,
    )
    parts.provide(app)
    for router in _ROUTERS:
        app.include_router(router)
    app.mount("/static", StaticFiles(directory=STATIC), name="static")
    app.add_exception_handler(Problem, problems.answer_problem)
    app.add_exception_handler(RequestValidationError, _answer_invalid)
    app.add_exception_handler(HTTPException, _answer_http)
    app.add_exception_handler(Exception, _answer_internal)
    for kind, translate in _TRANSLATED.items():
        app.add_exception_handler(kind, _answering(translate))
    app.add_middleware(FloodGate, rate=parts[RateLimit])
    app.add_middleware(SecurityHeaders)
    app.add_middleware(_Measured, metrics=metrics)
    install_openapi(app, VERSION, base_path)
    return app


_NO_TELEMETRY: TelemetryConfig = {"tracing": False, "metrics": False, "logs": False}
"""FastAPI's telemetry costs a check per request. For tracing see request_traces.py."""


def _refused_by_owner(error: Exception) -> Problem:
    assert isinstance(error, OwnerRefused)
    seconds = error.retry_after_seconds
    headers = None if seconds is None else {"Retry-After": str(math.ceil(seconds))}
    return problems.from_owner(error.error, headers=headers)


_TRANSLATED: dict[type[Exception], Callable[[Exception], Problem]] = {
    BrokerUnavailable: lambda _: problems.broker_unavailable(),
    DatabaseUnavailable: lambda _: problems.database_unavailable(),
    BadCursor: lambda _: problems.invalid_field("cursor", "'cursor' is not one from this list."),
    StoreUnavailable: lambda _: problems.media_store_unavailable(),
    NotStored: lambda _: Problem("media_not_found", "The upload's file is not there any more."),
    OwnerSilent: lambda _: problems.no_answer(),
    ConfirmLost: lambda _: problems.command_in_doubt(),
    OwnerRefused: _refused_by_owner,
}


def _answering(
    translate: Callable[[Exception], Problem],
) -> Callable[[Request, Exception], Response]:
    def answer(_: Request, error: Exception) -> Response:
        return translate(error).response()

    return answer


def _answer_invalid(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    return problems.invalid_request(problems.details_of(error.errors())).response()


def _answer_http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    match error.status_code:
        case 404:
            problem = Problem("not_found", "There is nothing at this address.")
        case 405:
            problem = Problem(
                "method_not_allowed",
                "This address does not take this method.",
                headers={"Allow": _allowed(request)},
            )
        case _:
            problem = Problem("invalid_request", f"{error.detail}.", status=error.status_code)
    return problem.response()


def _allowed(request: Request) -> str:
    """The methods of all routes of this address. Starlette names those of the first route only."""
    scope = {key: request.scope[key] for key in ("type", "method", "path", "root_path")}
    included = (route for router in _ROUTERS for route in router.routes)
    matching = [
        route
        for route in (send.route, *included)
        if isinstance(route, APIRoute) and route.matches(dict(scope))[0] is not Match.NONE
    ]
    # `/api/messages/send` also matches `/api/messages/{key}`: the route without parameters wins.
    fewest = min((len(route.param_convertors) for route in matching), default=0)
    methods = {
        method
        for route in matching
        if len(route.param_convertors) == fewest
        for method in route.methods or ()
    }
    return ", ".join(sorted(methods))


def _answer_internal(request: Request, error: Exception) -> Response:
    log.error("request_failed", path=request.url.path, reason=type(error).__name__)
    return Problem("internal", "Something went wrong here. It is in the log.").response()


class _Measured:
    """Times every request, labelled with its route's pattern."""

    def __init__(self, app: ASGIApp, metrics: ApiMetrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started, status = time.perf_counter(), 500

        async def record_status(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, record_status)
        finally:
            route = getattr(scope.get("route"), "path", "other")
            labels = (scope["method"] if route != "other" else "other", route, str(status))
            self._metrics.requests.labels(*labels).observe(time.perf_counter() - started)
