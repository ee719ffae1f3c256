"""A process with the unchanged neonize engine, which does what its parent tells it.

Run as `python engine_probe.py <store> <descriptor> [--forked]`. The descriptor is a stream socket
with one JSON object a line: calls in (`{"call": 1, "do": "send_text", …}`), events and results out.
With `--forked` the engine is loaded the way the product's worker does it: the parent imports
neonize without the Go library, and a forked child loads the library.
"""

# ruff: noqa: PLC0415 — the engine may be imported only after the fork

import asyncio
import base64
import ctypes
import importlib
import json
import os
import socket
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

_LONGEST_LINE_BYTES = 1 << 26
_EVENTS = (
    "PairStatusEv",
    "ConnectedEv",
    "DisconnectedEv",
    "LoggedOutEv",
    "StreamReplacedEv",
    "TemporaryBanEv",
    "ConnectFailureEv",
    "ClientOutdatedEv",
    "StreamErrorEv",
    "KeepAliveTimeoutEv",
    "KeepAliveRestoredEv",
    "ReceiptEv",
    "MessageEv",
)


def load_forked() -> None:
    """Import neonize without its library, fork, and load the library in the child.

    The parent waits for the child and exits as it did.
    """
    os.environ["SPHINX"] = "1"
    importlib.import_module("neonize.aioze.client")
    child = os.fork()
    if child:
        _, status = os.waitpid(child, 0)
        os._exit(os.waitstatus_to_exitcode(status) & 0xFF)
    del os.environ["SPHINX"]
    binder = importlib.reload(sys.modules["neonize._binder"])
    for name in ("neonize.client", "neonize.aioze.client"):
        vars(sys.modules[name])["gocode"] = binder.gocode


class Probe:
    """One client, its events on the line, and the calls that it understands."""

    def __init__(self, store: str, line: socket.socket) -> None:
        from neonize.aioze import client, events

        probe = self

        class _Client(client.NewAClient):  # type: ignore[misc]
            def _NewAClient__onLoginStatus(self, uuid: int, status: int) -> None:  # noqa: N802
                text = ctypes.string_at(status).decode()
                probe.report_from_thread({"event": "login_status", "status": text})

        self._line = line
        self._loop = asyncio.get_running_loop()
        self._client = _Client(store)
        self._client.event.qr(self._on_qr)
        for name in _EVENTS:
            self._client.event(getattr(events, name))(self._reporter(name))

    def report(self, what: dict[str, Any]) -> None:
        """Write one line to the parent."""
        self._line.sendall(json.dumps(what).encode() + b"\n")

    def report_from_thread(self, what: dict[str, Any]) -> None:
        """The same, from one of Go's threads."""
        self._loop.call_soon_threadsafe(self.report, what)

    async def _on_qr(self, _: Any, code: bytes) -> None:
        self.report({"event": "qr", "code": code.decode()})

    def _reporter(self, name: str) -> Any:
        from google.protobuf.json_format import MessageToDict

        async def report(_: Any, event: Any) -> None:
            fields = MessageToDict(event, preserving_proto_field_name=True)
            if name == "MessageEv":
                fields["raw"] = base64.b64encode(event.Message.SerializeToString()).decode()
            self.report({"event": name, "fields": fields})

        return report

    async def serve(self, calls: asyncio.StreamReader) -> None:
        """Carry out the parent's calls, each in its own task; end the process with the line.

        Nobody is asked: Go may be in a call that lasts, or hang in its own shutdown.
        """
        async with asyncio.TaskGroup() as tasks:
            while line := await calls.readline():
                tasks.create_task(self._answer(json.loads(line)))
            os._exit(0)

    async def _answer(self, call: dict[str, Any]) -> None:
        number, name = call.pop("call"), call.pop("do")
        try:
            result = await getattr(self, f"do_{name}")(**call)
        except Exception as error:  # noqa: BLE001 — the parent judges it
            self.report({"call": number, "error": f"{type(error).__name__}: {error}"})
        else:
            self.report({"call": number, "result": result})

    async def do_connect(self) -> None:
        task = await self._client.connect()
        task.add_done_callback(self._on_connect_end)

    def _on_connect_end(self, task: "asyncio.Task[None]") -> None:
        error = "" if task.cancelled() or task.exception() is None else str(task.exception())
        self.report({"event": "connect_ended", "error": error})

    async def do_pair(self, number: str) -> str:
        return str(await self._client.PairPhone(number, False))

    async def do_send_text(self, to: str, text: str) -> str:
        response = await self._client.send_message(_jid(to), text)
        return str(response.ID)

    async def do_send_media(
        self, to: str, kind: str, data: str, mime_type: str, fields: dict[str, str]
    ) -> str:
        from neonize.proto.waE2E.WAWebProtobufsE2E_pb2 import Message
        from neonize.utils.enum import MediaType

        upload = await self._client.upload(
            base64.b64decode(data), getattr(MediaType, f"Media{kind.capitalize()}")
        )
        message = Message()
        part = getattr(message, f"{kind}Message")
        part.mimetype = mime_type
        part.URL = upload.url
        part.directPath = upload.DirectPath
        part.mediaKey = upload.MediaKey
        part.fileEncSHA256 = upload.FileEncSHA256
        part.fileSHA256 = upload.FileSHA256
        part.fileLength = upload.FileLength
        for name, value in fields.items():
            setattr(part, name, value)
        response = await self._client.send_message(_jid(to), message)
        return str(response.ID)

    async def do_download(self, raw: str) -> str:
        from neonize.proto.waE2E.WAWebProtobufsE2E_pb2 import Message

        message = Message.FromString(base64.b64decode(raw))
        return base64.b64encode(await self._client.download_any(message)).decode()

    async def do_logout(self) -> None:
        await self._client.logout()


def _jid(number: str) -> Any:
    from neonize.utils import build_jid

    return build_jid(number)


async def main(store: str, line: socket.socket) -> None:
    """Serve until the parent closes the line."""
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(32))
    reader, _ = await asyncio.open_connection(sock=line.dup(), limit=_LONGEST_LINE_BYTES)
    probe = Probe(store, line)
    probe.report({"event": "ready"})
    await probe.serve(reader)


if __name__ == "__main__":
    if "--forked" in sys.argv:
        load_forked()
    asyncio.run(main(sys.argv[1], socket.socket(fileno=int(sys.argv[2]))))
