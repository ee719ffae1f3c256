"""Requests replays for missing events until they arrive."""

import asyncio
import time
from datetime import timedelta
from typing import NoReturn
from uuid import UUID

import structlog

from wa_api.database.pool import DatabaseUnavailable
from wa_api.owners.command_bus import BrokerUnavailable, CommandBus, ConfirmLost
from wa_api.projecting.metrics import ProjectorMetrics
from wa_api.projecting.writer import ProjectionWriter
from wa_contracts.ids import CommandId, SessionId, new_id
from wa_contracts.internal.commands import ReplaySession

log = structlog.get_logger()

ASK_EVERY_SECONDS = 5.0
ASK_EXPIRES_IN = timedelta(seconds=30)


class GapRequests:
    """Fills the gaps of a writer by replays into one queue."""

    def __init__(
        self, *, writer: ProjectionWriter, bus: CommandBus, metrics: ProjectorMetrics, queue: str
    ) -> None:
        self._writer = writer
        self._bus = bus
        self._metrics = metrics
        self._queue = queue
        self._requested_at: dict[UUID, float] = {}
        self._found = asyncio.Event()

    def found(self) -> None:
        """Report a gap: request its replay without waiting for the next round."""
        self._found.set()

    async def run(self) -> NoReturn:
        """Request replays for all gaps at once and every 5 s until cancelled."""
        while True:
            try:
                await self.ask()
            except (DatabaseUnavailable, BrokerUnavailable, ConfirmLost) as error:
                log.info("replay_not_asked_yet", reason=type(error).__name__)
            self._found.clear()
            try:
                async with asyncio.timeout(ASK_EVERY_SECONDS):
                    await self._found.wait()
            except TimeoutError:
                continue  # ask again: the last request or its replay may be lost

    async def ask(self) -> int:
        """Request replays for gaps, each at most every 5 s; return the number of gaps.

        Raises:
            DatabaseUnavailable: The gaps cannot be read.
            BrokerUnavailable, ConfirmLost: See `CommandBus.publish`.
        """
        gaps = await self._writer.gaps()
        self._metrics.gaps.set(len(gaps))
        for session_id, sequence in gaps.items():
            if time.monotonic() - self._requested_at.get(session_id, -1e9) >= ASK_EVERY_SECONDS:
                self._requested_at[session_id] = time.monotonic()
                await self._request_replay(SessionId(session_id), sequence)
        self._requested_at = {s: at for s, at in self._requested_at.items() if s in gaps}
        return len(gaps)

    async def _request_replay(self, session_id: SessionId, sequence: int) -> None:
        now, command_id = await self._writer.database_time(), CommandId(new_id())
        command = ReplaySession(
            id=command_id,
            session_id=session_id,
            correlation_id=command_id,
            issued_at=now,
            expires_at=now + ASK_EXPIRES_IN,
            from_sequence=sequence,
            queue=self._queue,
        )
        loop = asyncio.get_running_loop()
        await self._bus.publish(command, deadline=loop.time() + ASK_EVERY_SECONDS)
        log.warning("replay_asked", session_id=str(session_id), from_sequence=sequence)
