"""Whether the process lives and what it depends on."""

from typing import Literal

import structlog
from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel

from wa_api.gateway import Gateway, TheGateway
from wa_contracts.topology import PROJECTOR
from wa_runtime.connection_loss import BrokerConnectionLost, translate_connection_errors

log = structlog.get_logger()
router = APIRouter(tags=["health"])


class Alive(BaseModel):
    """The process answers."""

    status: Literal["alive"] = "alive"


class Readiness(BaseModel):
    """Ready once started. `projector_backlog` counts bundles of events not projected yet, None if unknown."""

    model_config = ConfigDict(
        alias_generator=to_camel, validate_by_name=True, serialize_by_alias=True
    )
    status: Literal["ready"] = "ready"
    broker: Literal["available", "unavailable"]
    database: Literal["available", "unavailable"]
    live_hosts: int
    projector_backlog: int | None


@router.get("/livez", summary="Does the process live?")
async def livez() -> Alive:
    """Always, if it answers."""
    return Alive()


@router.get("/readyz", summary="Does it take requests, and what is away?")
async def readyz(gateway: TheGateway) -> Readiness:
    """Its own start decides: with a dependency away, page and errors must still reach people."""
    is_broker_there = gateway.publish_link.writer is not None
    return Readiness(
        broker="available" if is_broker_there else "unavailable",
        database="available" if await gateway.database.is_ready() else "unavailable",
        live_hosts=gateway.liveness.live_hosts(),
        projector_backlog=await _backlog(gateway),
    )


async def _backlog(gateway: Gateway) -> int | None:
    writer = gateway.inbox_link.writer
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
