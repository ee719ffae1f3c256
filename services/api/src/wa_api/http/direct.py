"""Routes that FastAPI describes and does not serve."""

from fastapi import Request
from fastapi.routing import APIRoute
from starlette.types import Receive, Scope, Send


class DirectRoute(APIRoute):
    """Hands its endpoint the request itself, `async def (request) -> Response`.

    For what is called most: FastAPI's dependencies and parameters cost more than the endpoint.
    It has none of them; what it reads is described in `openapi_extra`.
    """

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See `BaseRoute`."""
        if scope["method"] in (self.methods or ()):
            response = await self.endpoint(Request(scope, receive, send))
            await response(scope, receive, send)
        else:
            await super().handle(scope, receive, send)
