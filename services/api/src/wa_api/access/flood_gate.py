"""Refuses sends that are over their token's rate before anything else is done about them.

A refusal is held back, and a token gets so many a second at most: who floods waits, and what a flood
costs does not depend on how hard it is tried.
"""

import asyncio
from types import SimpleNamespace

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from wa_api.access.rate_limit import RateLimit
from wa_api.http.problems import Problem

PATH = "/api/messages/send"
_ROUTE = SimpleNamespace(path=PATH)
"""For the metrics, which name the route."""


class FloodGate:
    """The gate, around the application."""

    def __init__(self, app: ASGIApp, rate: RateLimit) -> None:
        """`rate` is taken from by the route, by bearer token, once the token is known to be good."""
        self._app = app
        self._rate = rate

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        if scope["type"] == "http" and scope["path"] == PATH:
            token = token_of(Headers(scope=scope))
            if token is not None and (seconds := self._rate.wait_for(token)):
                scope["route"] = _ROUTE
                await asyncio.sleep(self._rate.hold_back(token))
                await over_the_rate(seconds).response()(scope, receive, send)
                return
        await self._app(scope, receive, send)


def token_of(headers: Headers) -> str | None:
    """The token of the Authorization header, or None if there is no such header."""
    scheme, _, token = headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else None


def over_the_rate(seconds: int) -> Problem:
    """429, with the seconds after which it is worth trying again."""
    return Problem(
        "rate_limited",
        "This session sends too much: it is over its messages per minute.",
        headers={"Retry-After": str(seconds)},
    )
