"""The process that delivers webhooks."""

import asyncio
from contextlib import AsyncExitStack

import structlog
from prometheus_client import CollectorRegistry
from pydantic import SecretStr

from wa_api.access.secret_boxes import WEBHOOKS, secret_box
from wa_api.database.pool import Database
from wa_api.processes.running import first_address, running
from wa_api.processes.webhook_wiring import build_dispatcher
from wa_api.serving.metrics import WebhookMetrics, metrics_served
from wa_api.settings import Settings

log = structlog.get_logger()


async def run_deliverer(settings: Settings, encryption_key: SecretStr, stop: asyncio.Event) -> None:
    """Deliver webhooks until `stop` is set; attempts under way are made again by the next one."""
    async with AsyncExitStack() as stack:
        database = Database(settings.api_database_url.get_secret_value())
        await stack.enter_async_context(database)
        registry = CollectorRegistry()
        secrets = secret_box(settings, encryption_key, WEBHOOKS)
        dispatcher = build_dispatcher(settings, database, secrets, WebhookMetrics(registry))
        port = settings.webhooks_metrics_port
        stack.enter_context(metrics_served(registry, first_address(settings.host), port))
        async with running(dispatcher.run()):
            await stop.wait()
    log.info("deliverer_stopped")
