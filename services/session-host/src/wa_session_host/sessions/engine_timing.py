"""Phases and times of a session's engine: its login, and the pause before the next engine."""

import asyncio
import random
from datetime import datetime
from enum import Enum

from wa_session_host.domain import session as domain

FIRST_PAUSE_SECONDS = 0.3
LONGEST_PAUSE_SECONDS = 60.0
RESTRICTED_PAUSE_SECONDS = 600.0
REPLACED_PAUSE_SECONDS = 30.0


class EnginePhase(Enum):
    """Phases of a session's engine."""

    IDLE = "no engine"
    STARTING = "a start is under way; a command may cancel it"
    RUNNING = "the engine is observed"
    STOPPING = "the engine ends"


class LoginWatch:
    """Detects a login that neither succeeds nor fails."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._under_way = asyncio.Event()
        self._over = asyncio.Event()

    def set_under_way(self, *, under_way: bool) -> None:
        begun, ended = self._under_way, self._over
        (begun if under_way else ended).set()
        (ended if under_way else begun).clear()

    async def wait_overdue(self) -> None:
        """Return when a login has been under way for too long since this call."""
        while True:
            await self._under_way.wait()
            try:
                async with asyncio.timeout(self._seconds):
                    await self._over.wait()
            except TimeoutError:
                return


def pause_seconds(state: domain.State, crashes: int, now: datetime) -> float:
    """Seconds before the next engine: longer after each crash, with jitter, or as the state says."""
    match state:
        case domain.Opened(condition=domain.Restricted(until=None)):
            return RESTRICTED_PAUSE_SECONDS
        case domain.Opened(condition=domain.Restricted(until=datetime() as until)):
            return max((until - now).total_seconds(), 1)
        case domain.Opened(condition=domain.Disconnected(reason="stream_replaced")):
            return REPLACED_PAUSE_SECONDS
    seconds: float = min(FIRST_PAUSE_SECONDS * 2**crashes, LONGEST_PAUSE_SECONDS)
    return seconds * random.uniform(0.5, 1)  # noqa: S311 - spreads load, guards nothing
