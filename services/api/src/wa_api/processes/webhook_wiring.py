"""Puts the delivering process together from the settings."""

import asyncio
from datetime import UTC, datetime, timedelta

from wa_api.access.secret_box import SecretBox
from wa_api.database.pool import Database
from wa_api.serving.metrics import WebhookMetrics
from wa_api.settings import Settings
from wa_api.webhooks.delivering.backlog import Backlog
from wa_api.webhooks.delivering.cleanup import Upkeep
from wa_api.webhooks.delivering.dispatcher import Dispatcher
from wa_api.webhooks.delivering.endpoint_worker import Road
from wa_api.webhooks.delivering.fan_out import FanOut
from wa_api.webhooks.delivering.http_attempt import Outgoing
from wa_api.webhooks.delivering.retry_rule import RetryRule


def build_dispatcher(
    settings: Settings, database: Database, secrets: SecretBox, metrics: WebhookMetrics
) -> Dispatcher:
    """All parts, wired; nothing of it runs yet."""
    outgoing = Outgoing(
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
    return Dispatcher(
        url=settings.api_database_url.get_secret_value(),
        fan_out=FanOut(database, backlog_limit=settings.webhook_backlog_limit),
        road=Road(
            backlog=Backlog(database, secrets),
            outgoing=outgoing,
            rule=rule,
            metrics=metrics,
            quick_slots=asyncio.Semaphore(settings.webhook_concurrency),
            slow_slots=asyncio.Semaphore(settings.webhook_concurrency),
            at_once=settings.webhook_endpoint_concurrency,
        ),
        upkeep=Upkeep(database, keep=keep, clock=lambda: datetime.now(UTC)),
    )
