"""One supervised connection to RabbitMQ, with reconnection."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import NoReturn

import aio_pika
import aiormq
import structlog
from aio_pika.abc import AbstractChannel, AbstractConnection

from wa_runtime.channel_writer import ChannelWriter
from wa_runtime.connection_loss import BrokerConnectionLost, translate_connection_errors
from wa_runtime.topology_declaration import HEARTBEAT_SECONDS, declare_topology

log = structlog.get_logger()

CONNECT_SECONDS = 5.0
CLOSE_SECONDS = 2.0
RECONNECT_SECONDS = 0.5
UNBLOCKED_CHECK_SECONDS = 0.05

# No limit: with a limit of one frame, a writer that waits for room on a lost connection never
# returns. Publishers limit their messages in flight.
aiormq.Connection.FRAME_BUFFER_SIZE = 0

OnOpen = Callable[[ChannelWriter], Awaitable[None]]


@dataclass(frozen=True)
class _Open:
    connection: AbstractConnection
    writer: ChannelWriter
    lost: asyncio.Event


class BrokerLink:
    """One connection with one channel. `on_open` sets up the channel after each connect.

    aio-pika's robust connection is not used: it restores channels one by one in the background, and
    its `publish` waits or fails at indistinguishable moments.
    """

    def __init__(self, url: str, name: str, on_open: OnOpen | None = None) -> None:
        self._url = url
        self._name = name
        self._on_open = on_open
        self._open: _Open | None = None
        self._opened = asyncio.Event()
        self._attempted = asyncio.Event()

    async def run(self) -> NoReturn:
        """Keep the connection open until cancelled."""
        outage_logged = False
        while True:
            try:
                async with translate_connection_errors():
                    await self._hold_connection()
                outage_logged = False
                log.warning("broker_connection_lost", link=self._name)
            except (BrokerConnectionLost, TimeoutError) as error:
                if not outage_logged:
                    log.warning("waiting_for_broker", link=self._name, reason=str(error))
                outage_logged = True
            self._attempted.set()
            await asyncio.sleep(RECONNECT_SECONDS)

    async def wait_first_attempt(self, seconds: float) -> None:
        """Wait for the end of the first connection attempt, at most `seconds`."""
        try:
            async with asyncio.timeout(seconds):
                await self._attempted.wait()
        except TimeoutError:
            log.warning("broker_slow", link=self._name, waited_seconds=seconds)

    @property
    def is_connected(self) -> bool:
        """Whether the connection is open, blocked or not. Thread-safe."""
        return self._open is not None

    @property
    def writer(self) -> ChannelWriter | None:
        """The channel's writer; None while the broker is unavailable or blocks publishers."""
        now = self._current
        return None if now is None or _is_blocked(now.connection) else now.writer

    async def wait_writable(self) -> ChannelWriter:
        """Wait for a writer that the broker does not block."""
        while (writer := self.writer) is None:
            await self._opened.wait()
            await asyncio.sleep(UNBLOCKED_CHECK_SECONDS)
        return writer

    async def wait_open(self) -> ChannelWriter:
        """Wait for a writer, blocked or not."""
        while (now := self._current) is None:
            await self._opened.wait()
            await asyncio.sleep(UNBLOCKED_CHECK_SECONDS)
        return now.writer

    async def wait_lost(self, writer: ChannelWriter) -> None:
        """Wait until `writer` is no longer the current one."""
        now = self._open
        if now is not None and now.writer is writer:
            await now.lost.wait()

    def reconnect(self, writer: ChannelWriter) -> None:
        """Replace the connection of `writer`, if `writer` is still the current one."""
        if self._open is not None and self._open.writer is writer:
            self._open.lost.set()

    async def open_channel(self) -> AbstractChannel:
        """Open a further channel. A call on it that fails or is abandoned closes it alone.

        Raises:
            BrokerConnectionLost: the broker is unavailable.
        """
        now = self._current
        if now is None:
            raise BrokerConnectionLost("not connected")
        async with translate_connection_errors():
            return await now.connection.channel()

    @property
    def _current(self) -> _Open | None:
        now = self._open
        if now is None or now.lost.is_set() or now.writer.channel.is_closed:
            return None
        return now

    async def _hold_connection(self) -> None:
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
    """Whether the broker sent `connection.blocked`.

    aiormq keeps the state in a private event. One step of its public coroutine `ready()` reveals
    it: the coroutine ends unless the connection is blocked.
    """
    probe = _ready(connection)
    try:
        probe.send(None)
    except StopIteration:
        return False
    probe.close()
    return True
