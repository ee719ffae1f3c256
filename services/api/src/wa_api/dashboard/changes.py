"""Server-Sent Events that make the page reload its fragments."""

import asyncio
from collections.abc import AsyncIterator

from wa_api.database.notifications import Notifications
from wa_api.owners.command_bus import CommandBus
from wa_api.owners.liveness import HostLiveness

LOOK_EVERY_SECONDS = 0.5
"""Interval of the check for silent hosts and a lost broker, which cause no event."""
HEARTBEAT_SECONDS = 10.0
LEAST_SECONDS_BETWEEN_CHANGES = 0.2
RETRY_MILLISECONDS = 1000


class Changes:
    """Watches everything that the dashboard shows."""

    def __init__(
        self, notifications: Notifications, bus: CommandBus, liveness: HostLiveness
    ) -> None:
        self._notifications = notifications
        self._bus = bus
        self._liveness = liveness

    async def stream(self) -> AsyncIterator[bytes]:
        """Yield `changed` at the start and per possible change, `alive` after 10 s without one."""
        yield f"retry: {RETRY_MILLISECONDS}\n\n".encode()
        clock = asyncio.get_running_loop().time
        with self._notifications.watch() as watch:
            condition, notified, sent_at = None, True, clock()
            while not watch.ended:
                now = self._condition()
                if notified or now != condition:
                    condition, sent_at = now, clock()
                    yield b"event: changed\ndata: {}\n\n"
                    await asyncio.sleep(LEAST_SECONDS_BETWEEN_CHANGES)
                elif clock() - sent_at >= HEARTBEAT_SECONDS:
                    sent_at = clock()
                    yield b"event: alive\ndata: {}\n\n"
                notified = await watch.changed(LOOK_EVERY_SECONDS)

    def _condition(self) -> tuple[object, ...]:
        """State that changes the page without an event."""
        live_partitions = tuple(sorted(self._liveness.live_partitions()))
        return self._bus.is_available, self._notifications.listening, live_partitions
