"""The protocol between a session-host and an engine worker, on a socket pair.

A frame is a four-byte big-endian length and JSON: `{"type": <class name>, "data": {…}}`.
"""

import struct
from asyncio import IncompleteReadError, StreamReader
from dataclasses import dataclass, field
from typing import Any

from pydantic import TypeAdapter
from pydantic_core import from_json, to_json

from wa_contracts.internal.questions import Answer, Question
from wa_contracts.internal.replies import PairingCode
from wa_session_host.domain.observations import (
    CallSeen,
    ChangeSeen,
    ClientOutdated,
    ClientVersion,
    ConnectionLost,
    EngineCrashed,
    EngineRefused,
    LinkedDevice,
    LinkRemoved,
    LoggedIn,
    MessageSeen,
    NumberBanned,
    NumberRestricted,
    QRRanOut,
    QRShown,
    ReceiptSeen,
    ReceivedMedia,
    StreamReplaced,
)
from wa_session_host.engine.port import Acknowledged, EngineOptions, OutgoingMessage
from wa_session_host.engine.sanitising import sanitised

FRAME_LIMIT = 8 * 1024 * 1024
_LENGTH = struct.Struct(">I")


@dataclass(frozen=True)
class Begin:
    """Host to worker, after Loaded: the session. `deadline` is on the machine's monotonic clock.

    `version` is that of the library which the worker loaded. `stored` is whether the device store has the link's device.
    """

    session_id: str
    device_store: str
    link: LinkedDevice | None
    deadline: float
    version: ClientVersion
    stored: bool = True
    options: EngineOptions = field(default_factory=EngineOptions)


@dataclass(frozen=True)
class ExtendDeadline:
    """Host to worker: the right to act lasts until `deadline`. Answered by DeadlineAck."""

    deadline: float


@dataclass(frozen=True)
class SendCall:
    """Host to worker: send this message."""

    call: int
    message: OutgoingMessage


@dataclass(frozen=True)
class PairCall:
    """Host to worker: request a pairing code."""

    call: int
    phone_number: str


@dataclass(frozen=True)
class DownloadCall:
    """Host to worker: download this media to `path`."""

    call: int
    media: ReceivedMedia
    path: str


@dataclass(frozen=True)
class AskCall:
    """Host to worker: ask WhatsApp this."""

    call: int
    question: Question


@dataclass(frozen=True)
class LogOutCall:
    """Host to worker: remove the link."""

    call: int


@dataclass(frozen=True)
class Hello:
    """Worker to host, first: the process runs."""


@dataclass(frozen=True)
class Loaded:
    """Worker to host: the engine's library is loaded."""


@dataclass(frozen=True)
class DeadlineAck:
    """Worker to host: the new deadline is in force."""


@dataclass(frozen=True)
class CallResult:
    """Worker to host: a call's result. `error` is the class name of the port's exception.

    `unrecognised` and `code` are the exception's.
    """

    call: int
    acknowledged: Acknowledged | None = None
    pairing_code: PairingCode | None = None
    answer: Answer | None = None
    error: str | None = None
    code: str = ""
    message: str = ""
    unrecognised: bool = False


Frame = (
    Begin
    | ExtendDeadline
    | SendCall
    | PairCall
    | DownloadCall
    | AskCall
    | LogOutCall
    | Hello
    | Loaded
    | DeadlineAck
    | CallResult
    | QRShown
    | QRRanOut
    | EngineRefused
    | ClientOutdated
    | LinkedDevice
    | LoggedIn
    | ConnectionLost
    | EngineCrashed
    | StreamReplaced
    | LinkRemoved
    | NumberRestricted
    | NumberBanned
    | ReceiptSeen
    | MessageSeen
    | ChangeSeen
    | CallSeen
)

_ADAPTERS: dict[str, TypeAdapter[Any]] = {
    kind.__name__: TypeAdapter(kind) for kind in Frame.__args__
}


class ProtocolError(ValueError):
    """The other side sent an invalid frame."""


def encode_frame(frame: Frame) -> bytes:
    """Encode one frame, length included."""
    kind = type(frame).__name__
    body = to_json({"type": kind, "data": _ADAPTERS[kind].dump_python(frame, mode="json")})
    return _LENGTH.pack(len(body)) + body


def decode_frame(body: bytes) -> Frame:
    """Decode one frame, length excluded.

    Raises:
        ProtocolError: invalid.
    """
    try:
        raw = from_json(body)
        if b"\\u0000" in body:
            raw = sanitised(raw)
        frame: Frame = _ADAPTERS[raw["type"]].validate_python(raw["data"], strict=False)
    except (ValueError, KeyError, TypeError) as error:
        raise ProtocolError(f"not a frame: {type(error).__name__}") from error
    return frame


async def read_frame(reader: StreamReader) -> Frame | None:
    """Read the next frame; None at the end of the stream.

    Raises:
        ProtocolError: too long, or invalid.
    """
    try:
        (length,) = _LENGTH.unpack(await reader.readexactly(_LENGTH.size))
        if length > FRAME_LIMIT:
            raise ProtocolError(f"a frame of {length} bytes")
        return decode_frame(await reader.readexactly(length))
    except (IncompleteReadError, ConnectionError):
        return None
