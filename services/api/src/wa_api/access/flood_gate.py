"""Refuses sends over their token's rate before any other work.

Refusals are delayed and capped at 50 a second per token, so a flood has a bounded cost.
"""

import asyncio
from types import SimpleNamespace

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from wa_api.access.rate_limit import RateLimit
from wa_api.http.problems import Problem

PATH = "/api/messages/send"
_ROUTE = SimpleNamespace(path=PATH)
"""Route name for the metrics."""


class FloodGate:
    def __init__(self, app: ASGIApp, rate: RateLimit) -> None:
        """`rate` is the route's limit, which the route acquires after it has checked the token."""
        self._app = app
        self._rate = rate

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] == PATH:
            token = token_of(Headers(scope=scope))
            if token is not None and (seconds := self._rate.wait_for(token)):
                scope["route"] = _ROUTE
                await asyncio.sleep(self._rate.refusal_delay(token))
                await over_the_rate(seconds).response()(scope, receive, send)
                return
        await self._app(scope, receive, send)


def token_of(headers: Headers) -> str | None:
    """The token of the Authorization header, or None without such a header."""
    scheme, _, token = headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else None


def over_the_rate(seconds: int) -> Problem:
    """429 with Retry-After."""
    return Problem(
        "rate_limited",
        "This session sends too much: it is over its messages per minute.",
        headers={"Retry-After": str(seconds)},
    )
