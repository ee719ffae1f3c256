"""The host's side of an engine in a worker process."""

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import replace
from itertools import count
from pathlib import Path

import structlog

from wa_contracts.internal.questions import Answer, Question
from wa_contracts.internal.replies import PairingCode
from wa_session_host.domain.observations import EngineCrashed, EngineEnding, ReceivedMedia, Seen
from wa_session_host.engine.port import (
    Acknowledged,
    AskFailed,
    DownloadFailed,
    NotNow,
    NotSent,
    OutcomeUnknown,
    OutgoingMessage,
    PairingUnavailable,
    SendRefused,
)
from wa_session_host.engine.protocol import (
    AskCall,
    Begin,
    CallResult,
    DeadlineAck,
    DownloadCall,
    ExtendDeadline,
    Frame,
    Hello,
    Loaded,
    LogOutCall,
    PairCall,
    ProtocolError,
    SendCall,
    encode_frame,
    read_frame,
)

log = structlog.get_logger()

SEND_TIMEOUT_SECONDS = 80
"""Slightly more than the engine's own 75 s, so that the engine's error comes first."""
CALL_TIMEOUT_SECONDS = 30
DOWNLOAD_TIMEOUT_SECONDS = 120
END_TIMEOUT_SECONDS = 2
SILENT_SECONDS = 10.0
"""A worker without an answer for so long is dead, even if its process runs."""


ENDED = EngineCrashed("engine_ended", "The engine's process ended.")
NO_ANSWER = "whatsapp_unavailable", "WhatsApp did not answer. Try again in a moment."
SILENT = EngineCrashed("engine_silent", "The engine's process did not answer any more.")


class WorkerEngine:
    """One session's engine, in a worker process at the other end of a socket."""

    def __init__(
        self,
        begin: Begin,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        pid: int | None,
    ) -> None:
        """The streams are the host's end of the socket pair; `pid` comes from the fork server.

        The worker gets Begin once it is loaded, with the deadline then in force.
        """
        self._begin = begin
        self._begun = asyncio.Event()
        self._reader = reader
        self._writer = writer
        self._ended = asyncio.Event()
        self._pid = pid
        self._unanswered_since: float | None = None
        self._calls: dict[int, asyncio.Future[CallResult]] = {}
        self._numbers = count(1)
        self._observations: asyncio.Queue[Seen | None] = asyncio.Queue()
        self._stopping = False
        self._ending_reported = False
        self._crash = ENDED
        self._reading = asyncio.create_task(self._read())

    @property
    def pid(self) -> int | None:
        return self._pid

    @property
    def ended(self) -> bool:
        return self._ended.is_set()

    @property
    def _is_writable(self) -> bool:
        """Whether the worker reads frames: no end of stream was sent."""
        return not self._stopping and not self._ended.is_set()

    async def observations(self) -> AsyncIterator[Seen]:
        """See `Engine.observations`. An unexpected end is an EngineCrashed."""
        while (seen := await self._observations.get()) is not None:
            yield seen

    async def send(self, message: OutgoingMessage) -> Acknowledged:
        try:
            answer = await self._call(
                lambda call: SendCall(call, message), timeout=SEND_TIMEOUT_SECONDS
            )
        except TimeoutError as error:
            raise OutcomeUnknown("The engine gave no answer in time.") from error
        match answer:
            case CallResult(acknowledged=Acknowledged() as acknowledged):
                return acknowledged
            case CallResult(error="SendRefused"):
                raise SendRefused(answer.code, answer.message)
            case CallResult(error="NotNow"):
                raise NotNow(answer.code, answer.message, unrecognised=answer.unrecognised)
            case CallResult(error="NotSent"):
                raise NotSent(answer.message)
            case _:
                raise OutcomeUnknown(answer.message, unrecognised=answer.unrecognised)

    async def pairing_code(self, phone_number: str) -> PairingCode:
        try:
            answer = await self._call(
                lambda call: PairCall(call, phone_number), timeout=CALL_TIMEOUT_SECONDS
            )
        except TimeoutError as error:
            raise PairingUnavailable("The engine gave no answer in time.") from error
        if answer.pairing_code is None:
            raise PairingUnavailable(answer.message)
        return answer.pairing_code

    async def download(self, media: ReceivedMedia, path: Path) -> None:
        try:
            answer = await self._call(
                lambda call: DownloadCall(call, media, str(path.absolute())),
                timeout=DOWNLOAD_TIMEOUT_SECONDS,
            )
        except TimeoutError as error:
            raise DownloadFailed("media_unavailable", "WhatsApp's media server is slow.") from error
        if answer.error is not None:
            raise DownloadFailed(answer.code or "media_unavailable", answer.message)

    async def ask(self, question: Question) -> Answer:
        try:
            answer = await self._call(
                lambda call: AskCall(call, question), timeout=CALL_TIMEOUT_SECONDS
            )
        except TimeoutError as error:
            raise AskFailed(*NO_ANSWER) from error
        if answer.answer is None:
            raise AskFailed(*((answer.code, answer.message) if answer.code else NO_ANSWER))
        return answer.answer

    async def log_out(self) -> None:
        try:
            await self._call(LogOutCall, timeout=CALL_TIMEOUT_SECONDS)
        except TimeoutError:
            log.warning("log_out_unanswered", pid=self._pid)

    async def stop(self) -> None:
        self._stopping = True
        if not self._ended.is_set():
            if self._writer.can_write_eof():
                self._writer.write_eof()
            try:
                async with asyncio.timeout(END_TIMEOUT_SECONDS):
                    await self._ended.wait()
            except TimeoutError:
                self._kill()
        await self._reading
        self._writer.close()

    def extend(self, deadline: float) -> None:
        if not self._begun.is_set():
            self._begin = replace(self._begin, deadline=deadline)
        elif self._is_writable:
            self._end_if_silent()
            self._write_frame(ExtendDeadline(deadline))

    def _end_if_silent(self) -> None:
        """Kill a worker that does not answer; the session sees a crash."""
        now = time.monotonic()
        if self._unanswered_since is None:
            self._unanswered_since = now
        elif now - self._unanswered_since > SILENT_SECONDS:
            self._crash = SILENT
            self._kill()

    def _write_frame(self, frame: Frame) -> None:
        self._writer.write(encode_frame(frame))

    def _kill(self) -> None:
        if self._pid is not None:
            log.warning("worker_killed", pid=self._pid)
            with suppress(ProcessLookupError):
                os.kill(self._pid, signal.SIGKILL)

    async def _call(self, frame: Callable[[int], Frame], *, timeout: float) -> CallResult:
        number = next(self._numbers)
        future: asyncio.Future[CallResult] = asyncio.get_running_loop().create_future()
        self._calls[number] = future
        try:
            async with asyncio.timeout(timeout):
                await self._begun.wait()
                if not self._is_writable:
                    return CallResult(number, error="NotSent", message="The engine is not running.")
                self._write_frame(frame(number))
                return await future
        finally:
            del self._calls[number]

    async def _read(self) -> None:
        try:
            while (frame := await read_frame(self._reader)) is not None:
                self._unanswered_since = None
                self._handle_frame(frame)
        except ProtocolError as error:
            self._crash = EngineCrashed("engine_ended", str(error))
            self._kill()
        self._ended.set()
        self._begun.set()
        for number, future in self._calls.items():
            if not future.done():
                message = self._crash.message
                future.set_result(CallResult(number, error="OutcomeUnknown", message=message))
        if not self._stopping and not self._ending_reported:
            self._observations.put_nowait(self._crash)
        self._observations.put_nowait(None)

    def _handle_frame(self, frame: Frame) -> None:
        match frame:
            case Hello():
                log.info("worker_started", session_id=self._begin.session_id, pid=self._pid)
            case Loaded():
                if self._is_writable:
                    self._write_frame(self._begin)
                self._begun.set()
            case DeadlineAck():
                pass
            case CallResult():
                future = self._calls.get(frame.call)
                if future is not None and not future.done():
                    future.set_result(frame)
            case (
                Begin()
                | ExtendDeadline()
                | SendCall()
                | PairCall()
                | DownloadCall()
                | AskCall()
                | LogOutCall()
            ):
                raise ProtocolError(f"a worker sent {type(frame).__name__}")
            case _:
                self._ending_reported = self._ending_reported or isinstance(frame, EngineEnding)
                self._observations.put_nowait(frame)
