"""Drives `engine_probe` from a test: calls, and events awaited with a deadline."""

import asyncio
import base64
import itertools
import json
import os
import socket
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from tests.whatsapp.waiting import Changes

_PROBE = Path(__file__).with_name("engine_probe.py")
_EVENT_SECONDS = 60.0
_END_SECONDS = 10.0
_LONGEST_LINE_BYTES = 1 << 26


class EngineError(Exception):
    """The engine raised; the text is the exception's type and message."""


class Engine:
    """A running engine process. Get one from `run`."""

    def __init__(self, process: asyncio.subprocess.Process, line: asyncio.StreamWriter) -> None:
        self._process = process
        self._line = line
        self._calls = itertools.count(1)
        self._answers: dict[int, asyncio.Future[Any]] = {}
        self._changes = Changes()
        self._taken: set[int] = set()
        self.events: list[dict[str, Any]] = []
        self.output = ""

    @classmethod
    @asynccontextmanager
    async def run(
        cls, store: Path, environment: Mapping[str, str], *, forked: bool = False
    ) -> AsyncIterator["Engine"]:
        """Start the engine on this device store, and kill it at the exit."""
        ours, theirs = socket.socketpair()
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            str(_PROBE),
            str(store),
            str(theirs.fileno()),
            *(["--forked"] if forked else []),
            env={**os.environ, "NEONIZE_BOT_TAG": "off", **environment},
            pass_fds=[theirs.fileno()],
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        theirs.close()
        reader, line = await asyncio.open_connection(sock=ours, limit=_LONGEST_LINE_BYTES)
        engine = cls(process, line)
        readers = asyncio.gather(engine._read(reader), engine._keep_output())
        try:
            await engine.event("ready")
            yield engine
        finally:
            line.close()
            async with asyncio.timeout(_END_SECONDS):
                await readers
                await process.wait()

    async def event(self, name: str, timeout: float = _EVENT_SECONDS) -> dict[str, Any]:
        """Return the first event of that name that was not returned yet.

        Raises TimeoutError after `timeout` seconds, with the engine's output.
        """
        found: list[int] = []

        def arrived() -> bool:
            found[:] = [
                index
                for index, event in enumerate(self.events)
                if event["event"] == name and index not in self._taken
            ]
            return bool(found)

        try:
            await self._changes.until(arrived, timeout, f"{name} from the engine")
        except TimeoutError as error:
            names = [event["event"] for event in self.events]
            raise TimeoutError(f"{error}; got {names}; it said:\n{self.output}") from None
        self._taken.add(found[0])
        return self.events[found[0]]

    async def call(self, name: str, timeout: float = _EVENT_SECONDS, **arguments: Any) -> Any:
        """Let the engine do something; raises EngineError if that raised there."""
        number = next(self._calls)
        answer = asyncio.get_running_loop().create_future()
        self._answers[number] = answer
        self._line.write(json.dumps({"call": number, "do": name, **arguments}).encode() + b"\n")
        async with asyncio.timeout(timeout):
            return await answer

    async def connect(self) -> None:
        """Begin to connect; what becomes of it is told by events."""
        await self.call("connect")

    async def qr(self) -> str:
        """The next QR code shown."""
        return str((await self.event("qr"))["code"])

    async def send_text(self, to: str, text: str, timeout: float = _EVENT_SECONDS) -> str:
        """Send a text and return its message id."""
        return str(await self.call("send_text", timeout, to=to, text=text))

    async def send_media(
        self, to: str, kind: str, data: bytes, mime_type: str, **fields: str
    ) -> str:
        """Upload and send a file (`image`, `video`, `document`), and return the message id."""
        encoded = base64.b64encode(data).decode()
        answer = await self.call(
            "send_media", to=to, kind=kind, data=encoded, mime_type=mime_type, fields=fields
        )
        return str(answer)

    async def wait_output(self, text: str, timeout: float = _EVENT_SECONDS) -> None:
        """Return once the process has printed `text`."""
        await self._changes.until(lambda: text in self.output, timeout, f"output {text!r}")

    async def _read(self, reader: asyncio.StreamReader) -> None:
        while line := await reader.readline():
            message = json.loads(line)
            if "call" not in message:
                self.events.append(message)
                self._changes.announce()
                continue
            answer = self._answers.pop(message["call"])
            if answer.done():
                continue
            if "error" in message:
                answer.set_exception(EngineError(message["error"]))
            else:
                answer.set_result(message["result"])

    async def _keep_output(self) -> None:
        stdout = self._process.stdout
        while stdout is not None and (chunk := await stdout.read(1 << 14)):
            self.output += chunk.decode(errors="replace")
            self._changes.announce()
