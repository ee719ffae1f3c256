"""The process that rebuilds the read tables."""

import asyncio
from contextlib import AsyncExitStack

from prometheus_client import CollectorRegistry

from wa_api.database.pool import Database
from wa_api.processes.running import retention_of, running
from wa_api.projecting.metrics import ProjectorMetrics
from wa_api.projecting.rebuild import Rebuild
from wa_api.projecting.shadow_tables import alone, clear, prepare, shadow_url
from wa_api.settings import Settings
from wa_runtime.broker import BrokerLink

BROKEN_OFF = "The rebuild was broken off. Nothing is changed."
DATABASE_LOST = "The rebuild lost the database. Nothing is changed: start it again."


async def run_rebuild(settings: Settings, stop: asyncio.Event) -> None:
    """Rebuild the read tables from the hosts' event stores while the old tables serve.

    Raises:
        CannotRebuild: Nothing is changed. Also raised when `stop` is set before the swap.
    """
    url = settings.api_database_url.get_secret_value()
    async with AsyncExitStack() as stack:
        lost = await stack.enter_async_context(alone(url))
        await prepare(url)
        serving = await stack.enter_async_context(Database(url, size=2))
        shadow = await stack.enter_async_context(Database(shadow_url(url), size=2))
        amqp_url = settings.amqp_url.get_secret_value()
        publish_link = BrokerLink(amqp_url, "wa_api rebuild, publishing")
        rebuild = Rebuild(
            serving=serving,
            shadow=shadow,
            publish_link=publish_link,
            metrics=ProjectorMetrics(CollectorRegistry()),
            retention=retention_of(settings, shadow, shadow=True),
        )
        consume_link = BrokerLink(amqp_url, "wa_api rebuild, consuming", rebuild.open)
        async with running(publish_link.run(), consume_link.run()):
            await rebuild.run({BROKEN_OFF: stop, DATABASE_LOST: lost})
            await rebuild.delete_queue()
        await clear(url)
