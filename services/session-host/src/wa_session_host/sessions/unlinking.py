"""Removes the link of a session that has no engine: it logs in once more for that."""

import asyncio

import structlog

from wa_contracts.ids import SessionId
from wa_session_host.domain.observations import LinkedDevice, LoggedIn
from wa_session_host.engine.port import EngineOptions, Engines

log = structlog.get_logger()

UNLINK_SECONDS = 10.0


async def unlink(
    engines: Engines, session_id: SessionId, link: LinkedDevice, options: EngineOptions
) -> None:
    """Log in and out; best effort, at most 10 s."""
    engine = await engines.start(session_id, link, options)
    try:
        async with asyncio.timeout(UNLINK_SECONDS):
            async for seen in engine.observations():
                if isinstance(seen, LoggedIn):
                    await engine.log_out()
                    break
    except TimeoutError:
        log.warning("not_unlinked", session_id=str(session_id))
    finally:
        await engine.stop()
