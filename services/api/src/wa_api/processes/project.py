"""The process that projects events."""

import asyncio
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta

import structlog
from prometheus_client import CollectorRegistry

from wa_api.database.pool import Database
from wa_api.dead_letters.cleanup import DeadLetterCleanup
from wa_api.dead_letters.collector import DeadLetterCollector
from wa_api.dead_letters.letters import DeadLetters
from wa_api.owners.command_bus import CommandBus
from wa_api.processes.running import first_address, metrics_served, retention_of, running
from wa_api.projecting.metrics import ProjectorMetrics
from wa_api.projecting.projector import Projector
from wa_api.projecting.writer import ProjectionWriter
from wa_api.settings import Settings
from wa_runtime.broker import BrokerLink

log = structlog.get_logger()


async def run_projector(settings: Settings, stop: asyncio.Event) -> None:
    """Project events until `stop` is set."""
    async with AsyncExitStack() as stack:
        database = Database(settings.api_database_url.get_secret_value(), size=2)
        await stack.enter_async_context(database)
        registry = CollectorRegistry()
        url = settings.amqp_url.get_secret_value()
        publish_link = BrokerLink(url, "wa_api projector, publishing")
        bus, metrics = CommandBus(publish_link), ProjectorMetrics(registry)
        projector = Projector(writer=ProjectionWriter(database), bus=bus, metrics=metrics)
        collector = DeadLetterCollector(DeadLetters(database, publish_link), bus, metrics)
        consume_link = BrokerLink(url, "wa_api projector, consuming", projector.open)
        dead_letters_link = BrokerLink(url, "wa_api projector, dead letters", collector.open)
        port = settings.projector_metrics_port
        stack.enter_context(metrics_served(registry, first_address(settings.host), port))
        links = (publish_link, consume_link, dead_letters_link)
        retention = retention_of(settings, database)
        keep = timedelta(days=settings.retention_days)
        cleanup = DeadLetterCleanup(database, keep=keep, clock=lambda: datetime.now(UTC))
        consumers = (projector.run(), collector.run(), retention.run(), cleanup.run())
        async with running(*(link.run() for link in links), *consumers):
            await stop.wait()
    log.info("projector_stopped")
