"""The file in a request's body, while it arrives: raw, or the first file of a multipart form."""

import asyncio
import mimetypes
from collections import deque
from collections.abc import AsyncIterator
from email.message import Message

from fastapi import Request
from python_multipart.exceptions import MultipartParseError
from python_multipart.multipart import MultipartParser
from starlette.requests import ClientDisconnect

from wa_api.http.problems import Problem
from wa_api.uploads.uploads import IncomingFile

CHUNK_SECONDS = 30.0
FORM_BYTES = 4096
"""Boundaries and headers of a form with one file, at most."""
HEADERS_LIMIT = 8 * 1024
UNKNOWN_TYPE = "application/octet-stream"
_TYPE_LIMIT = 255


async def incoming_file(request: Request, file_name: str | None) -> IncomingFile:
    """The file that the request brings. `file_name` is for a raw body.

    Raises:
        Problem: 400 for a form without a file; 408. Also while the file is read.
    """
    kind = request.headers.get("content-type", "")
    declared = request.headers.get("content-length", "")
    length = int(declared) if declared.isdigit() and len(declared) < 16 else None
    if kind.partition(";")[0].strip().lower() != "multipart/form-data":
        return IncomingFile(_chunks(request), _type_of(kind, file_name), file_name, length)
    form = _Form(kind)
    chunks = _chunks(request)
    while not form.has_file:
        chunk = await anext(chunks, None)
        if chunk is None:
            raise _no_form("The form has no file.")
        form.feed(chunk)
    size = None if length is None else max(0, length - FORM_BYTES)
    return IncomingFile(
        form.content(chunks), _type_of(form.mime_type, form.file_name), form.file_name, size
    )


async def _chunks(request: Request) -> AsyncIterator[bytes]:
    stream = request.stream()
    while True:
        try:
            async with asyncio.timeout(CHUNK_SECONDS):
                chunk = await anext(stream, None)
        except TimeoutError as error:
            message = f"Nothing of the file came for {CHUNK_SECONDS:g} seconds."
            raise Problem("request_too_slow", message) from error
        except ClientDisconnect as error:
            raise Problem("invalid_request", "The body ended early.") from error
        if chunk is None:
            return
        if chunk:
            yield chunk


def _type_of(claimed: str, file_name: str | None) -> str:
    """The claimed type without surprises for a header; by the file's name if there is none."""
    kind = claimed.strip().lower()
    is_known = "/" in kind and kind.isascii() and kind.isprintable() and len(kind) <= _TYPE_LIMIT
    if is_known and kind not in {UNKNOWN_TYPE, "application/x-www-form-urlencoded"}:
        return kind
    return mimetypes.guess_type(file_name or "")[0] or UNKNOWN_TYPE


def _no_form(why: str) -> Problem:
    return Problem("invalid_request", f"{why} Send one part with a file, or the file as the body.")


class _Form:
    """Parses a form as it comes. Only the content of its first file is kept, piece by piece."""

    def __init__(self, content_type: str) -> None:
        head = Message()
        head["content-type"] = content_type
        boundary = head.get_boundary("")
        if not boundary:
            raise _no_form("The form's Content-Type names no boundary.")
        self.has_file = False
        self.file_name: str | None = None
        self.mime_type = ""
        self._pieces: deque[bytes] = deque()
        self._in_file = self._is_complete = False
        self._field = self._value = b""
        self._headers = Message()
        self._parser = MultipartParser(
            boundary.encode("latin-1", "replace"),
            {
                "on_part_begin": self._begin,
                "on_header_field": self._add_field,
                "on_header_value": self._add_value,
                "on_header_end": self._end_header,
                "on_headers_finished": self._end_headers,
                "on_part_data": self._add_data,
                "on_part_end": self._end,
            },
        )

    def feed(self, chunk: bytes) -> None:
        """Parse the next bytes. Raises Problem (400)."""
        try:
            self._parser.write(chunk)
        except MultipartParseError as error:
            raise _no_form("The form is malformed.") from error

    async def content(self, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """The file's content; what follows in the form is read and dropped."""
        while True:
            while self._pieces:
                yield self._pieces.popleft()
            chunk = await anext(chunks, None)
            if chunk is None:
                break
            self.feed(chunk)
        if not self._is_complete:
            raise _no_form("The form ended early.")

    def _begin(self) -> None:
        self._headers = Message()

    def _add_field(self, data: bytes, start: int, end: int) -> None:
        self._field = self._bounded(self._field + data[start:end])

    def _add_value(self, data: bytes, start: int, end: int) -> None:
        self._value = self._bounded(self._value + data[start:end])

    def _bounded(self, value: bytes) -> bytes:
        if len(value) > HEADERS_LIMIT:
            raise _no_form("A part's header is too long.")
        return value

    def _end_header(self) -> None:
        name = self._field.decode("latin-1")
        self._headers[name] = self._value.decode("utf-8", "replace")
        self._field = self._value = b""

    def _end_headers(self) -> None:
        name = self._headers.get_filename()
        if self.has_file or name is None:
            return
        self.has_file = self._in_file = True
        self.file_name = "".join(filter(str.isprintable, name))[:255] or None
        self.mime_type = str(self._headers.get("content-type", ""))

    def _add_data(self, data: bytes, start: int, end: int) -> None:
        if self._in_file:
            self._pieces.append(bytes(data[start:end]))

    def _end(self) -> None:
        self._is_complete = self._is_complete or self._in_file
        self._in_file = False
