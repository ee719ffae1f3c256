"""The process that serves HTTP."""

import asyncio
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta

import structlog
from fastapi import FastAPI
from prometheus_client import CollectorRegistry

from wa_api.access.concurrency import Concurrency
from wa_api.access.credentials import Credentials
from wa_api.access.keys import Keys
from wa_api.access.rate_limit import RateLimit
from wa_api.access.secret_boxes import TOKENS, WEBHOOKS, secret_box
from wa_api.access.sign_in import SignIn
from wa_api.dashboard.readings import DashboardViews
from wa_api.database.notifications import Live
from wa_api.database.pool import Database
from wa_api.dead_letters.letters import DeadLetters
from wa_api.events.feed import Feed
from wa_api.events.tail import FeedTail
from wa_api.gateway import Gateway
from wa_api.messages.media_address import MediaAddressRule
from wa_api.messages.media_downloads import MediaDownloads, limit_pieces
from wa_api.messages.requests import MessageRequests
from wa_api.messages.sending import Sending
from wa_api.owners.command_bus import CommandBus
from wa_api.owners.liveness import HostLiveness
from wa_api.owners.pending_replies import Outcomes
from wa_api.owners.reply_consumer import Inbox
from wa_api.owners.requests import RequestsToOwner
from wa_api.processes.running import first_address, running
from wa_api.serving.app import build_app
from wa_api.serving.metrics import ApiMetrics, FeedMetrics, metrics_served
from wa_api.serving.server import Server, listen
from wa_api.sessions.lifecycle import SessionLifecycle
from wa_api.sessions.views import Views
from wa_api.settings import Settings
from wa_api.webhooks.deliveries import Deliveries
from wa_api.webhooks.endpoints import Endpoints
from wa_contracts.ids import new_id
from wa_runtime.broker import BrokerLink

log = structlog.get_logger()

FIRST_ATTEMPT_SECONDS = 15.0


async def run_api(
    settings: Settings, keys: Keys, *, stop: asyncio.Event, on_ready: Callable[[int], None]
) -> None:
    """Serve HTTP until `stop` is set, then answer what waits and end.

    `on_ready` is called with the port once requests are taken: after the first attempts to reach the
    broker and the database, whatever came of them, so that the first request of a healthy start finds it.

    Raises:
        CannotListen: the address cannot be had.
    """
    sockets = listen(settings.host, settings.port)
    port = sockets[0].getsockname()[1]
    async with AsyncExitStack() as stack:
        database = Database(settings.api_database_url.get_secret_value())
        await stack.enter_async_context(database)
        gateway = build_gateway(settings, keys, database)
        links = (gateway.publish_link, gateway.inbox_link, gateway.media_link)
        registry = CollectorRegistry()
        app = build_app(gateway, _api_metrics(registry, gateway))
        if settings.otel_exporter_otlp_endpoint:
            _trace_requests(app)
        address = first_address(settings.host)
        stack.enter_context(metrics_served(registry, address, settings.metrics_port))
        server = Server(app, lambda: on_ready(port), trusted_proxies=settings.trusted_proxies)
        async with running(*(link.run() for link in links), gateway.live.run()):
            for link in links:
                await link.wait_first_attempt(FIRST_ATTEMPT_SECONDS)
            await gateway.live.attempted(FIRST_ATTEMPT_SECONDS)
            async with running(_drain_when(stop, gateway, server)):
                await server.serve(sockets=list(sockets))
    log.info("api_stopped")


def _trace_requests(app: FastAPI) -> None:
    from wa_api.serving.request_traces import trace_requests  # noqa: PLC0415 - costs nothing when off

    trace_requests(app)


async def _drain_when(stop: asyncio.Event, gateway: Gateway, server: Server) -> None:
    await stop.wait()
    gateway.outcomes.drain()
    gateway.live.drain()
    server.should_exit = True


def build_gateway(settings: Settings, keys: Keys, database: Database) -> Gateway:
    """Everything that a serving process needs, wired; nothing of it runs yet."""
    outcomes = Outcomes()
    liveness = HostLiveness(time.monotonic)
    inbox = Inbox(f"api-{new_id()}", outcomes, liveness)
    amqp_url = settings.amqp_url.get_secret_value()
    publish_link = BrokerLink(amqp_url, "wa_api, publishing")
    media_link = BrokerLink(amqp_url, "wa_api, media", limit_pieces)
    bus = CommandBus(publish_link)
    views = Views(database, liveness)
    credentials = Credentials(database, secret_box(settings, keys.encryption, TOKENS))
    feed = Feed(database)
    live = Live(settings.api_database_url.get_secret_value())
    requests = RequestsToOwner(bus=bus, outcomes=outcomes, views=views, reply_to=inbox.reply_to)
    return Gateway(
        settings=settings,
        database=database,
        publish_link=publish_link,
        inbox_link=BrokerLink(amqp_url, "wa_api, replies", inbox.open),
        outcomes=outcomes,
        liveness=liveness,
        credentials=credentials,
        sign_in=SignIn(keys, now=lambda: datetime.now(UTC), monotonic=time.monotonic),
        sending=Sending(
            bus=bus,
            outcomes=outcomes,
            views=views,
            reply_to=inbox.reply_to,
            wait_seconds=settings.send_wait_seconds,
        ),
        send_rate=RateLimit(
            settings.session_rate_per_minute, time.monotonic, burst=settings.session_burst
        ),
        send_waits=Concurrency(settings.session_wait_limit),
        event_streams=Concurrency(settings.session_stream_limit),
        media_rule=MediaAddressRule(settings.media_directory, settings.media_allowed_hosts),
        media_link=media_link,
        media_downloads=MediaDownloads(requests, media_link),
        message_requests=MessageRequests(requests=requests, views=views, live=live),
        lifecycle=SessionLifecycle(
            database=database, credentials=credentials, requests=requests, views=views
        ),
        views=views,
        dashboard_views=DashboardViews(database, liveness),
        feed=feed,
        feed_tail=FeedTail(feed, live),
        dead_letters=DeadLetters(database, publish_link),
        webhooks=Endpoints(
            database,
            secret_box(settings, keys.encryption, WEBHOOKS),
            overlap=timedelta(seconds=settings.webhook_secret_overlap_seconds),
        ),
        webhook_deliveries=Deliveries(database),
        live=live,
    )


def _api_metrics(registry: CollectorRegistry, gateway: Gateway) -> ApiMetrics:
    metrics = ApiMetrics(registry)
    metrics.open_waits.set_function(lambda: gateway.outcomes.open_waits)
    metrics.live_hosts.set_function(gateway.liveness.live_hosts)
    registry.register(FeedMetrics(gateway.feed))
    metrics.broker_available.set_function(lambda: float(gateway.publish_link.is_connected))
    return metrics
