"""Routes that FastAPI documents but does not serve."""

from fastapi import Request
from fastapi.routing import APIRoute
from starlette.types import Receive, Scope, Send


class DirectRoute(APIRoute):
    """Passes the request to an endpoint `async def (request) -> Response`.

    For the most frequent call: FastAPI's dependencies cost more than the endpoint itself.
    `openapi_extra` documents the parameters.
    """

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] in (self.methods or ()):
            response = await self.endpoint(Request(scope, receive, send))
            await response(scope, receive, send)
        else:
            await super().handle(scope, receive, send)
