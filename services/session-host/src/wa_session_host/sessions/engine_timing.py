"""Phases and times of a session's engine: its login, and the pause before the next engine."""

import asyncio
import random
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from enum import Enum

from wa_session_host.domain import session as domain
from wa_session_host.engine.port import Engines

FIRST_PAUSE_SECONDS = 0.3
LONGEST_PAUSE_SECONDS = 60.0
RESTRICTED_PAUSE_SECONDS = 600.0
REPLACED_PAUSE_SECONDS = 30.0
OUTDATED_PAUSE_SECONDS = 60.0
LONGEST_OUTDATED_PAUSE_SECONDS = 1800.0
MOST_DOUBLINGS = 10
"""More make no pause longer, and in the end no number that fits."""


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


class EnginePause:
    """The pause before a session's next engine, longer after each one that ended."""

    def __init__(self, engines: Engines, clock: Callable[[], datetime]) -> None:
        self._engines = engines
        self._clock = clock
        self._ended_engines = 0
        self._over = asyncio.Event()

    def start_over(self) -> None:
        """Begin with the shortest pause: the session works, or an operator wants it."""
        self._ended_engines = 0

    def end(self) -> None:
        """End the current pause, or the next one until `renew`."""
        self._over.set()

    def renew(self) -> None:
        """An engine starts: pauses from now on are not over."""
        self._over.clear()

    async def wait_first(self, state: domain.State) -> None:
        """Wait before the first engine of a host, where the state asks for it."""
        match state:
            case domain.Opened(condition=domain.Restricted(is_logged_in=False)):
                await self.wait(state)
            case _ if domain.refused_version(state) is not None:
                await self.wait(state)

    async def wait(self, state: domain.State) -> None:
        """Wait as long as the state says, but for the engines' version not at all if it is new."""
        if domain.refused_version(state) not in {None, self._engines.version}:
            return
        seconds = pause_seconds(state, self._ended_engines, self._clock())
        self._ended_engines += 1
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._over.wait()


def pause_seconds(state: domain.State, ended_engines: int, now: datetime) -> float:
    """Seconds before the next engine: longer after each one, with jitter, or as the state says."""
    first, longest = FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS
    match state:
        case domain.Opened(condition=domain.Restricted(until=None, is_logged_in=False)):
            return RESTRICTED_PAUSE_SECONDS
        case domain.Opened(condition=domain.Restricted(until=datetime() as until)):
            return max((until - now).total_seconds(), 1)
        case domain.Opened(condition=domain.Disconnected(reason="stream_replaced")):
            return REPLACED_PAUSE_SECONDS
        case _ if domain.refused_version(state) is not None:
            first, longest = OUTDATED_PAUSE_SECONDS, LONGEST_OUTDATED_PAUSE_SECONDS
    seconds: float = min(first * 2 ** min(ended_engines, MOST_DOUBLINGS), longest)
    return seconds * random.uniform(0.5, 1)  # noqa: S311 - spreads load, guards nothing
