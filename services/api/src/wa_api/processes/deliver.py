"""The process that delivers webhooks."""

import asyncio
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta

import structlog
from prometheus_client import CollectorRegistry
from pydantic import SecretStr

from wa_api.access.media_links import MediaLinks
from wa_api.access.secret_box import WEBHOOKS, SecretBox, secret_box
from wa_api.database.pool import Database
from wa_api.processes.running import first_address, metrics_served, running
from wa_api.settings import Settings
from wa_api.webhooks.delivering.backlog import Backlog
from wa_api.webhooks.delivering.cleanup import Cleanup
from wa_api.webhooks.delivering.dispatcher import Dispatcher
from wa_api.webhooks.delivering.endpoint_worker import DeliveryContext
from wa_api.webhooks.delivering.fan_out import FanOut
from wa_api.webhooks.delivering.http_attempt import HttpSender
from wa_api.webhooks.delivering.metrics import WebhookMetrics
from wa_api.webhooks.delivering.retry_rule import RetryRule

log = structlog.get_logger()


async def run_deliverer(settings: Settings, encryption_key: SecretStr, stop: asyncio.Event) -> None:
    """Deliver webhooks until `stop` is set. The next leader repeats interrupted attempts."""
    async with AsyncExitStack() as stack:
        database = Database(settings.api_database_url.get_secret_value())
        await stack.enter_async_context(database)
        registry = CollectorRegistry()
        secrets = secret_box(settings, encryption_key, WEBHOOKS)
        links = MediaLinks(encryption_key, settings.former_token_encryption_key)
        dispatcher = build_dispatcher(settings, database, secrets, links, WebhookMetrics(registry))
        port = settings.webhooks_metrics_port
        stack.enter_context(metrics_served(registry, first_address(settings.host), port))
        async with running(dispatcher.run()):
            await stop.wait()
    log.info("deliverer_stopped")


def build_dispatcher(
    settings: Settings,
    database: Database,
    secrets: SecretBox,
    links: MediaLinks,
    metrics: WebhookMetrics,
) -> Dispatcher:
    """Build the dispatcher and its parts. Starts nothing."""
    sender = HttpSender(
        allowed_hosts=settings.webhook_allowed_hosts,
        connect_seconds=settings.webhook_connect_seconds,
        answer_seconds=settings.webhook_answer_seconds,
    )
    rule = RetryRule(
        first=timedelta(seconds=settings.webhook_retry_first_seconds),
        longest=timedelta(seconds=settings.webhook_retry_longest_seconds),
        window=timedelta(seconds=settings.webhook_retry_seconds),
    )
    keep = timedelta(days=settings.retention_days)
    life = timedelta(seconds=settings.webhook_media_link_seconds)
    return Dispatcher(
        url=settings.api_database_url.get_secret_value(),
        fan_out=FanOut(database, backlog_limit=settings.webhook_backlog_limit),
        context=DeliveryContext(
            backlog=Backlog(database, secrets),
            sender=sender,
            rule=rule,
            metrics=metrics,
            quick_slots=asyncio.Semaphore(settings.webhook_concurrency),
            slow_slots=asyncio.Semaphore(settings.webhook_concurrency),
            at_once=settings.webhook_endpoint_concurrency,
            media_link=lambda message_id: links.link(settings.address, message_id, life),
        ),
        cleanup=Cleanup(database, keep=keep, clock=lambda: datetime.now(UTC)),
    )
