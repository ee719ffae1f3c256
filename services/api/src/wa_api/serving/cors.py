"""Lets programs in browsers of other origins call with a token or key: CORS_ALLOWED_ORIGINS.

Never with a cookie: no answer allows credentials, and the dashboard's cookie is SameSite.
Source: Fetch Standard, 3.3.
"""

from collections.abc import Collection

from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

METHODS = ("GET", "POST", "PATCH", "DELETE")
REQUEST_HEADERS = (
    "Authorization",
    "Content-Type",
    "Idempotency-Key",
    "Last-Event-ID",
    "Prefer",
    "X-Expires-In",
)
ANSWER_HEADERS = ("Content-Disposition", "Idempotent-Replayed", "Location", "Retry-After")
MAX_AGE_SECONDS = 600
PATHS = ("/api/", "/openapi.json", "/asyncapi.json")


class Cors:
    """Answers preflights, and allows the origins in every answer below /api/, errors too."""

    def __init__(self, app: ASGIApp, origins: Collection[str]) -> None:
        """`origins` are exact; none leaves all as it is."""
        self._app = app
        self._cors = CORSMiddleware(
            app,
            allow_origins=sorted(origins),
            allow_methods=METHODS,
            allow_headers=REQUEST_HEADERS,
            expose_headers=ANSWER_HEADERS,
            max_age=MAX_AGE_SECONDS,
        )
        self._is_on = bool(origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        is_covered = self._is_on and scope["type"] == "http" and scope["path"].startswith(PATHS)
        if is_covered:
            await self._cors(scope, receive, send)
        else:
            await self._app(scope, receive, send)
