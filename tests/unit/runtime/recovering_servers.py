"""Postgres, RabbitMQ and its management interface as they answer while they recover."""

import asyncio
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web
from pamqp import commands, frame, header
from pamqp.base import Frame

FRAME_HEADER = struct.Struct(">BHI")


Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def _until_lost(serve: Serve) -> Serve:
    """The same for a client that may hang up at any time."""

    async def serve_until_lost(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await serve(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    return serve_until_lost


@asynccontextmanager
async def postgres(*refusals: tuple[str, str]) -> AsyncIterator[str]:
    """Refuses so many connections with these codes and texts, and takes the others. Its URL."""
    left = list(refusals)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        (length,) = struct.unpack(">I", await reader.readexactly(4))
        await reader.readexactly(length - 4)
        if left:
            code, text = left.pop(0)
            fields = (f"SFATAL\0C{code}\0M{text}\0\0").encode()
            writer.write(b"E" + struct.pack(">I", 4 + len(fields)) + fields)
        else:
            status = b"server_version\x0018.0\0"
            writer.write(b"R" + struct.pack(">II", 8, 0))
            writer.write(b"S" + struct.pack(">I", 4 + len(status)) + status)
            writer.write(b"K" + struct.pack(">III", 12, 1, 1))
            writer.write(b"Z" + struct.pack(">I", 5) + b"I")
            await writer.drain()
            await reader.read()
        writer.close()

    server = await asyncio.start_server(_until_lost(serve), "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        yield f"postgresql://wa@127.0.0.1:{port}/wa?sslmode=disable"


_ANSWERS: dict[type[object], Frame] = {
    commands.Connection.StartOk: commands.Connection.Tune(2047, 131072, 0),
    commands.Connection.Open: commands.Connection.OpenOk(),
    commands.Connection.Close: commands.Connection.CloseOk(),
    commands.Channel.Open: commands.Channel.OpenOk(),
    commands.Channel.Close: commands.Channel.CloseOk(),
    commands.Confirm.Select: commands.Confirm.SelectOk(),
    commands.Exchange.Declare: commands.Exchange.DeclareOk(),
    commands.Queue.Bind: commands.Queue.BindOk(),
    commands.Basic.Qos: commands.Basic.QosOk(),
}


@asynccontextmanager
async def rabbitmq(*refusals: Frame | None) -> AsyncIterator[str]:
    """Answers the first queue of so many connections with these; None hangs up. Its URL."""
    left = list(refusals)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(len(header.ProtocolHeader().marshal()))
        features: Any = {"publisher_confirms": True, "basic.nack": True}
        start = commands.Connection.Start(0, 9, {"capabilities": features}, "PLAIN", "en_US")
        writer.write(frame.marshal(start, 0))
        while True:
            head = await reader.readexactly(FRAME_HEADER.size)
            body = await reader.readexactly(FRAME_HEADER.unpack(head)[2] + 1)
            _, channel, asked = frame.unmarshal(head + body)
            if isinstance(asked, commands.Queue.Declare):
                answer = left.pop(0) if left else commands.Queue.DeclareOk(asked.queue, 0, 0)
            else:
                answer = _ANSWERS.get(type(asked), commands.Connection.TuneOk())
            if answer is None:
                break
            if isinstance(answer, commands.Connection.TuneOk):
                continue  # a heartbeat, or a method without an answer
            is_about_connection = answer.name.startswith("Connection")
            writer.write(frame.marshal(answer, 0 if is_about_connection else channel))
            if isinstance(asked, commands.Connection.Close):
                break
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(_until_lost(serve), "127.0.0.1", 0)
    async with server:
        yield f"amqp://wa:wa@127.0.0.1:{server.sockets[0].getsockname()[1]}/"


@asynccontextmanager
async def management(answers: Sequence[tuple[int, str]]) -> AsyncIterator[tuple[str, list[object]]]:
    """Answers an import of definitions so, then with success. Its URL, and what was imported."""
    left, taken = list(answers), []

    async def definitions(request: web.Request) -> web.Response:
        if left:
            status, text = left.pop(0)
            return web.Response(status=status, text=text)
        taken.append(await request.json())
        return web.Response(status=204)

    app = web.Application()
    app.router.add_post("/api/definitions", definitions)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        [(_, port)] = [address[:2] for address in runner.addresses]
        yield f"http://wa:wa@127.0.0.1:{port}", taken
    finally:
        await runner.cleanup()
