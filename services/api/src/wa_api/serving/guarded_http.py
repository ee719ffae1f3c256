"""uvicorn's HTTP protocol with limits that apply before the application sees a request.

Limits the size and time of a request's head, and the time for the rest of an unread body. A slow,
endless or silent client holds a connection for seconds only.
"""

import asyncio
from http import HTTPStatus
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from wa_api.http.problems import Problem
from wa_api.serving.gathering_transport import GatheringTransport

HEAD_LIMIT = 32 * 1024
HEAD_SECONDS = 10.0
"""Time for a request's whole head, and for the rest of an unread body."""


class _HeadTooLarge(Exception):
    pass


class GuardedHttp(HttpToolsProtocol):
    """One connection. Errors before the application have the same shape as all errors.

    `base_path` is the path of a proxy, or nothing.
    """

    base_path = ""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._head_bytes = 0
        self._in_head = True
        self._progressed = False
        self._is_too_large = False
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(GatheringTransport(transport))  # type: ignore[arg-type]
        self._arm()

    def connection_lost(self, exc: Exception | None) -> None:
        self._disarm()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._progressed = False
        super().data_received(data)
        if self._in_head and not self._progressed and not self.transport.is_closing():
            self._arm()
            self._head_bytes += len(data)
            if self._head_bytes > HEAD_LIMIT:
                self._refuse(_TOO_LARGE)

    def on_headers_complete(self) -> None:
        self._progressed, self._in_head, self._head_bytes = True, False, 0
        self._disarm()
        if len(self.url) + sum(len(n) + len(v) for n, v in self.headers) > HEAD_LIMIT:
            self._is_too_large = True
            raise _HeadTooLarge
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._progressed, self._in_head = True, True
        self._disarm()
        super().on_message_complete()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if not self._in_head:
            self._arm()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - uvicorn's words
        """Answer an invalid request."""
        self._refuse(_TOO_LARGE if self._is_too_large else _MALFORMED)

    def _arm(self) -> None:
        if self._timer is None:
            self._timer = self.loop.call_later(HEAD_SECONDS, self._too_slow)

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _too_slow(self) -> None:
        self._timer = None
        if self.transport.is_closing():
            return
        if self._in_head and self.cycle is not None and not self.cycle.response_complete:
            self._arm()  # an earlier request is still being answered
        elif self._in_head and self._head_bytes:
            self._refuse(_TOO_SLOW)
        else:
            self.transport.close()

    def _refuse(self, problem: Problem) -> None:
        answer = problem.response().below(self.base_path)
        head = [f"HTTP/1.1 {answer.status_code} {HTTPStatus(answer.status_code).phrase}".encode()]
        head += [name + b": " + value for name, value in answer.raw_headers]
        body = bytes(answer.body)
        self.transport.write(b"\r\n".join([*head, b"connection: close", b"", body]))
        self.transport.close()


_MALFORMED = Problem("invalid_request", "This is not a valid HTTP request.")
_TOO_LARGE = Problem(
    "headers_too_large", f"Address and headers have more than {HEAD_LIMIT // 1024} KiB together."
)
_TOO_SLOW = Problem(
    "request_too_slow", f"The headers were not there within {HEAD_SECONDS:g} seconds."
)
