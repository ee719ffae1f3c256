"""Liveness and readiness."""

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


class Alive(BaseModel):
    """The process is alive."""

    status: Literal["alive"] = "alive"


class Readiness(View):
    """The process is ready. `projector_backlog` counts unprojected bundles, None if unknown."""

    status: Literal["ready"] = "ready"
    broker: Literal["available", "unavailable"]
    database: Literal["available", "unavailable"]
    live_hosts: int
    projector_backlog: int | None


class ProjectorBacklog:
    """Length of the projector's queue."""

    def __init__(self, link: BrokerLink) -> None:
        self._link = link

    async def count(self) -> int | None:
        """Number of bundles; None if the broker does not answer within 2 s."""
        writer = self._link.writer
        if writer is None:
            return None
        try:
            async with translate_connection_errors():
                queue = await writer.channel.declare_queue(PROJECTOR, passive=True, timeout=2)
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
        projector_backlog=await backlog.count(),
    )
