"""One connection to RabbitMQ that is made, watched and made again, and says when it is away."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import NoReturn

import aio_pika
import aiormq
import structlog
from aio_pika.abc import AbstractConnection

from wa_runtime.channel_writer import ChannelWriter
from wa_runtime.connection_loss import BrokerConnectionLost, translate_connection_errors
from wa_runtime.topology_declaration import HEARTBEAT_SECONDS, declare_topology

log = structlog.get_logger()

CONNECT_SECONDS = 5.0
CLOSE_SECONDS = 2.0
RECONNECT_SECONDS = 0.5
UNBLOCKED_CHECK_SECONDS = 0.05

# Frames that wait to be written have no limit: at one, who waits for room in the queue of a connection
# that is lost would wait for ever. Publishers limit what they have under way.
aiormq.Connection.FRAME_BUFFER_SIZE = 0

OnOpen = Callable[[ChannelWriter], Awaitable[None]]


@dataclass(frozen=True)
class _Open:
    connection: AbstractConnection
    writer: ChannelWriter
    lost: asyncio.Event


class BrokerLink:
    """Keeps one connection with one channel. `on_open` sets the channel up after each connect.

    aio-pika's own robust connection is not used: it restores channels one by one behind one's
    back, and its `publish` then waits or fails at moments that cannot be told apart.
    """

    def __init__(self, url: str, name: str, on_open: OnOpen | None = None) -> None:
        self._url = url
        self._name = name
        self._on_open = on_open
        self._open: _Open | None = None
        self._opened = asyncio.Event()
        self._attempted = asyncio.Event()

    async def run(self) -> NoReturn:
        """Keep the connection until cancelled."""
        announced = False
        while True:
            try:
                async with translate_connection_errors():
                    await self._connected()
                announced = False
                log.warning("broker_connection_lost", link=self._name)
            except (BrokerConnectionLost, TimeoutError) as error:
                if not announced:
                    log.warning("waiting_for_broker", link=self._name, reason=str(error))
                announced = True
            self._attempted.set()
            await asyncio.sleep(RECONNECT_SECONDS)

    async def wait_first_attempt(self, seconds: float) -> None:
        """Wait until the first attempt to connect has come to an end, at most so long."""
        try:
            async with asyncio.timeout(seconds):
                await self._attempted.wait()
        except TimeoutError:
            log.warning("broker_slow", link=self._name, waited_seconds=seconds)

    @property
    def is_connected(self) -> bool:
        """Whether there is a connection, blocked or not. May be asked from any thread."""
        return self._open is not None

    @property
    def writer(self) -> ChannelWriter | None:
        """The way to write, or None while the broker is away or blocks publishers."""
        now = self._now
        return None if now is None or _is_blocked(now.connection) else now.writer

    async def wait_writable(self) -> ChannelWriter:
        """The way to write, as soon as there is one."""
        while (writer := self.writer) is None:
            await self._opened.wait()
            await asyncio.sleep(UNBLOCKED_CHECK_SECONDS)
        return writer

    async def wait_open(self) -> ChannelWriter:
        """The channel, blocked or not, as soon as there is one."""
        while (now := self._now) is None:
            await self._opened.wait()
            await asyncio.sleep(UNBLOCKED_CHECK_SECONDS)
        return now.writer

    async def wait_lost(self, writer: ChannelWriter) -> None:
        """Return when that channel is not the present one any more."""
        now = self._open
        if now is not None and now.writer is writer:
            await now.lost.wait()

    def reconnect(self, writer: ChannelWriter) -> None:
        """Give the connection of this channel up, if it is still the present one, for a new one."""
        if self._open is not None and self._open.writer is writer:
            self._open.lost.set()

    @property
    def _now(self) -> _Open | None:
        now = self._open
        if now is None or now.lost.is_set() or now.writer.channel.is_closed:
            return None
        return now

    async def _connected(self) -> None:
        async with asyncio.timeout(CONNECT_SECONDS):
            connection = await aio_pika.connect(
                self._url,
                client_properties={"connection_name": self._name},
                heartbeat=HEARTBEAT_SECONDS,
            )
        try:
            lost = asyncio.Event()
            connection.close_callbacks.add(lambda *_: lost.set())
            await declare_topology(connection)
            channel = await connection.channel(on_return_raises=True)
            channel.close_callbacks.add(lambda *_: lost.set())
            underlay = await channel.get_underlay_channel()
            underlay.on_consumer_cancel_callbacks.add(lambda _: lost.set())
            writer = ChannelWriter(channel, underlay)
            try:
                if self._on_open is not None:
                    await self._on_open(writer)
                self._open = _Open(connection, writer, lost)
                self._opened.set()
                self._attempted.set()
                log.info("broker_connected", link=self._name)
                await lost.wait()
            finally:
                writer.end()
        finally:
            self._open = None
            self._opened.clear()
            await _close(connection)


async def _close(connection: AbstractConnection) -> None:
    try:
        async with asyncio.timeout(CLOSE_SECONDS), translate_connection_errors():
            await connection.close()
    except (BrokerConnectionLost, TimeoutError) as error:
        log.debug("broker_close_unclean", reason=str(error))


async def _ready(connection: AbstractConnection) -> None:
    if connection.transport is not None:
        await connection.transport.ready()


def _is_blocked(connection: AbstractConnection) -> bool:
    """Whether the broker said `connection.blocked`.

    aiormq keeps that in a private event; its public `ready()` waits for it, so one step of that
    coroutine tells: it ends when nothing is in the way.
    """
    probe = _ready(connection)
    try:
        probe.send(None)
    except StopIteration:
        return False
    probe.close()
    return True
