"""Readers of events that stop reading: cut off, without harm to others, able to come back."""

import asyncio
import socket
from contextlib import AsyncExitStack, closing
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import psutil
import pytest

from tests.deadlines import eventually
from tests.integration.api.running import RunningApi, running_api
from tests.integration.api.scripted_host import ScriptedHost
from tests.system.event_stream import EventStream, following
from wa_api.serving import server
from wa_api.settings import Settings
from wa_contracts.ids import MessageId, new_id
from wa_contracts.message_events import MessageReceived

EVENTS = 400
TEXT = "x" * 60_000


def received() -> MessageReceived:
    """A long message that arrived."""
    return MessageReceived(
        id=MessageId(new_id()),
        message_id="3A00",
        chat="1@lid",
        sender="1@lid",
        type="text",
        text=TEXT,
        received_at=datetime.now(UTC),
    )


class StoppedReader:
    """Asks for events, and then takes none, with a small window."""

    def __init__(self, port: int, token: str) -> None:
        self._socket = socket.socket()
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self._socket.connect(("127.0.0.1", port))
        self._socket.sendall(
            f"GET /api/events HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n\r\n".encode()
        )
        self._socket.setblocking(False)

    async def drained(self) -> int:
        """How much comes until the connection ends."""
        loop, size = asyncio.get_running_loop(), 0
        try:
            while data := await loop.sock_recv(self._socket, 1 << 20):
                size += len(data)
        except ConnectionError:
            return size
        return size

    def close(self) -> None:
        """Close the connection from this side."""
        self._socket.close()

    def is_cut_off(self) -> bool:
        """Whether the other side, a socket of this process too, is gone."""
        mine = self._socket.getsockname()
        return not any(one.raddr == mine for one in psutil.Process().net_connections("tcp4"))


async def test_a_reader_that_stops_is_cut_off_and_harms_nobody(
    api: RunningApi, host: ScriptedHost, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "STALLED_SECONDS", 1.0)
    session = await api.new_session(host)
    session_id = UUID(session["sessionId"])
    async with running_api(settings) as strict:
        port = int(strict.base_url.rpartition(":")[2])
        async with (
            following(strict.base_url, session["token"]) as steady,
            AsyncExitStack() as stack,
        ):
            stopped = stack.enter_context(closing(StoppedReader(port, session["token"])))
            reading = asyncio.create_task(many(steady, EVENTS))
            for _ in range(EVENTS):
                await host.happen(session_id, received())
            heard = [event["sessionSequence"] for event in await reading]
            assert heard == list(range(heard[0], heard[0] + EVENTS))
            await eventually(stopped.is_cut_off, what="the reader is cut off")
            size = await stopped.drained()
            assert size < EVENTS * len(TEXT) / 2
            await host.happen(session_id, received())
            [after] = await many(steady, 1)
            assert after["sessionSequence"] == heard[-1] + 1


async def many(stream: EventStream, count: int) -> list[dict[str, Any]]:
    """So many events."""
    async with asyncio.timeout(30):
        return [await stream.next() for _ in range(count)]
