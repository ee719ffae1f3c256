"""Liveness and readiness."""

import asyncio
from typing import Literal

import structlog
from fastapi import APIRouter
from pydantic import BaseModel

from wa_api.database.pool import Database
from wa_api.http.models import View
from wa_api.http.parts import Part
from wa_api.owners.command_bus import CommandBus
from wa_api.owners.liveness import HostLiveness
from wa_contracts.topology import PROJECTOR
from wa_runtime.broker import BrokerLink
from wa_runtime.connection_loss import BrokerConnectionLost, translate_connection_errors

log = structlog.get_logger()
router = APIRouter(tags=["health"])

ANSWER_SECONDS = 2.0
KEPT_SECONDS = 2.0
"""A count is shown for so long."""


class Alive(BaseModel):
    """The process is alive."""

    status: Literal["alive"] = "alive"


class EngineInUse(View):
    """An engine with its version, its WhatsApp client version, and the number of hosts with both."""

    engine: str
    client_version: str
    hosts: int


class Readiness(View):
    """The process is ready. `projector_backlog` counts unprojected bundles, None if unknown."""

    status: Literal["ready"] = "ready"
    broker: Literal["available", "unavailable"]
    database: Literal["available", "unavailable"]
    live_hosts: int
    engines: tuple[EngineInUse, ...]
    projector_backlog: int | None


class ProjectorBacklog:
    """Length of the projector's queue, asked for every few seconds at most: anybody may ask."""

    def __init__(self, link: BrokerLink) -> None:
        self._link = link
        self._asking = asyncio.Lock()
        self._count: int | None = None
        self._known_until = 0.0

    async def count(self) -> int | None:
        """Number of bundles; None if the broker does not answer within ANSWER_SECONDS."""
        clock = asyncio.get_running_loop().time
        async with self._asking:
            if clock() >= self._known_until:
                self._count = await self._ask()
                self._known_until = clock() + KEPT_SECONDS
            return self._count

    async def _ask(self) -> int | None:
        """On a channel of its own: aiormq closes the channel of a call that is given up."""
        try:
            async with asyncio.timeout(ANSWER_SECONDS), translate_connection_errors():
                channel = await self._link.open_channel()
                async with channel:
                    queue = await channel.declare_queue(PROJECTOR, passive=True)
        except (BrokerConnectionLost, TimeoutError) as error:
            log.info("backlog_unknown", reason=str(error))
            return None
        count: int | None = queue.declaration_result.message_count
        return count


@router.get("/livez", summary="Does the process live?")
async def livez() -> Alive:
    """Always 200 while the process answers."""
    return Alive()


@router.get("/readyz", summary="Does it take requests, and what is away?")
async def readyz(
    bus: Part[CommandBus],
    database: Part[Database],
    liveness: Part[HostLiveness],
    backlog: Part[ProjectorBacklog],
) -> Readiness:
    """Ready once started, even with a dependency away: page and errors must still reach users."""
    return Readiness(
        broker="available" if bus.is_available else "unavailable",
        database="available" if await database.is_ready() else "unavailable",
        live_hosts=liveness.live_hosts(),
        engines=tuple(
            EngineInUse(engine=one.engine, client_version=one.client_version, hosts=hosts)
            for one, hosts in liveness.engines().items()
        ),
        projector_backlog=await backlog.count(),
    )
