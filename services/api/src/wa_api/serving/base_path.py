"""Serves everything below a path of a reverse proxy: BASE_PATH."""

from starlette.responses import RedirectResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from wa_api.http.base_path import SCOPE_KEY


class BasePath:
    """Takes requests below the path, and those from which a proxy has cut it off.

    A Location of this server is below the path as well.
    """

    def __init__(self, app: ASGIApp, base: str) -> None:
        """`base` begins with a slash and does not end with one; "" leaves all as it is."""
        self._app = app
        self._base = base
        self._raw = base.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not self._base:
            await self._app(scope, receive, send)
            return
        if scope["path"] == self._base and scope["method"] in {"GET", "HEAD"}:
            await RedirectResponse(f"{self._base}/", 308)(scope, receive, send)
            return
        inner = {**scope, SCOPE_KEY: self._base}
        if scope["path"].startswith(f"{self._base}/"):
            inner["path"] = scope["path"][len(self._base) :]
            inner["raw_path"] = scope["raw_path"].removeprefix(self._raw)

        async def send_below(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [
                    (name, self._raw + value if _is_ours(name, value) else value)
                    for name, value in message["headers"]
                ]
            await send(message)

        await self._app(inner, receive, send_below)


def _is_ours(name: bytes, value: bytes) -> bool:
    return name == b"location" and value.startswith(b"/") and not value.startswith(b"//")
