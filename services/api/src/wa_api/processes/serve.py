"""The process that serves HTTP."""

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from functools import partial

import structlog
from fastapi import FastAPI
from prometheus_client import CollectorRegistry

from wa_api.access.api_keys import ApiKeys
from wa_api.access.credentials import Credentials
from wa_api.access.keys import Keys
from wa_api.access.media_links import MediaLinks
from wa_api.access.rate_limit import RateLimit
from wa_api.access.secret_box import TOKENS, WEBHOOKS, secret_box
from wa_api.access.sign_in import SignIn
from wa_api.audit import AuditLog
from wa_api.dashboard.changes import Changes
from wa_api.dashboard.readings import DashboardReadings
from wa_api.dashboard.session_details import SessionDetails
from wa_api.dashboard.session_table import SessionTable
from wa_api.database.notifications import Notifications
from wa_api.database.pool import Database
from wa_api.dead_letters.letters import DeadLetters
from wa_api.events.feed import Feed
from wa_api.events.metrics import FeedMetrics
from wa_api.events.streams import EventStreams
from wa_api.events.tail import FeedTail
from wa_api.http.parts import Parts
from wa_api.messages.changes import MessageChanges
from wa_api.messages.media_address import MediaAddressRule
from wa_api.messages.media_downloads import MediaDownloads, limit_pieces
from wa_api.messages.requests import MessageRequests
from wa_api.messages.send_route import LARGE_BODIES_AT_ONCE, LargeBodies, SendWaits
from wa_api.messages.sending import Sending
from wa_api.messages.views import MessageViews
from wa_api.owners.command_bus import CommandBus
from wa_api.owners.host_clock import HostClock
from wa_api.owners.liveness import HostLiveness
from wa_api.owners.pending_replies import PendingReplies
from wa_api.owners.reply_consumer import ReplyConsumer
from wa_api.owners.requests import OwnerRequests
from wa_api.processes.running import first_address, metrics_served, running
from wa_api.projecting.tables.checkpoints import applied_sequence
from wa_api.serving.app import build_app
from wa_api.serving.base_path import BasePath
from wa_api.serving.cors import Cors
from wa_api.serving.health import ProjectorBacklog
from wa_api.serving.metrics import ApiMetrics
from wa_api.serving.server import Server, listen
from wa_api.sessions.lifecycle import SessionLifecycle
from wa_api.sessions.questions import SessionQuestions
from wa_api.sessions.views import SessionViews
from wa_api.settings import Settings
from wa_api.uploads.uploads import Limits, Uploads
from wa_api.webhooks.deliveries import Deliveries
from wa_api.webhooks.endpoints import Endpoints
from wa_contracts.ids import new_id
from wa_runtime.broker import BrokerLink
from wa_runtime.media_store.kept_media import KeptMedia
from wa_runtime.media_store.store import MediaStore

log = structlog.get_logger()

FIRST_ATTEMPT_SECONDS = 15.0


async def run_api(
    settings: Settings, keys: Keys, *, stop: asyncio.Event, on_ready: Callable[[int], None]
) -> None:
    """Serve HTTP until `stop` is set, then answer open requests and end.

    `on_ready` is called with the port after the first attempts to reach the broker and the
    database, successful or not, so that the first request of a healthy start finds both.

    Raises:
        CannotListen: The address is not available.
    """
    sockets = listen(settings.host, settings.port)
    port = sockets[0].getsockname()[1]
    async with AsyncExitStack() as stack:
        database = Database(settings.api_database_url.get_secret_value())
        await stack.enter_async_context(database)
        parts, links = build_parts(settings, keys, database)
        notifications = parts[Notifications]
        registry = CollectorRegistry()
        app = build_app(parts, _api_metrics(registry, parts), settings.base_path)
        if settings.otel_exporter_otlp_endpoint:
            _trace_requests(app)
        address = first_address(settings.host)
        stack.enter_context(metrics_served(registry, address, settings.metrics_port))
        below = BasePath(Cors(app, settings.cors_allowed_origins), settings.base_path)
        server = Server(
            below,
            lambda: on_ready(port),
            trusted_proxies=settings.trusted_proxies,
            base_path=settings.base_path,
        )
        background = (notifications.run(), parts[Uploads].run(), parts[AuditLog].run())
        async with running(*(link.run() for link in links), *background):
            for link in links:
                await link.wait_first_attempt(FIRST_ATTEMPT_SECONDS)
            await notifications.attempted(FIRST_ATTEMPT_SECONDS)
            async with running(_drain_when(stop, parts, server)):
                await server.serve(sockets=list(sockets))
    log.info("api_stopped")


def _trace_requests(app: FastAPI) -> None:
    from wa_api.serving.request_traces import trace_requests  # noqa: PLC0415 - costs nothing when off

    trace_requests(app)


async def _drain_when(stop: asyncio.Event, parts: Parts, server: Server) -> None:
    await stop.wait()
    parts[PendingReplies].drain()
    parts[Notifications].drain()
    server.should_exit = True


def build_parts(
    settings: Settings, keys: Keys, database: Database
) -> tuple[Parts, Sequence[BrokerLink]]:
    """Build all parts that routes use, and the connections to run. Starts nothing."""
    amqp_url = settings.amqp_url.get_secret_value()
    publish_link = BrokerLink(amqp_url, "wa_api, publishing")
    media_link = BrokerLink(amqp_url, "wa_api, media", limit_pieces)
    parts = Parts(settings, database, PendingReplies(), HostLiveness(time.monotonic))
    parts.add(Notifications(settings.api_database_url.get_secret_value()))
    parts.add(CommandBus(publish_link))
    parts.add(DeadLetters(database, publish_link))
    replies = ReplyConsumer(
        f"api-{new_id()}", parts[PendingReplies], parts[HostLiveness], parts.add(HostClock())
    )
    reply_link = BrokerLink(amqp_url, "wa_api, replies", replies.open)
    parts.add(ProjectorBacklog(reply_link))
    _add_access(parts, keys)
    _add_sessions_and_messages(parts, media_link, replies.reply_to)
    _add_events_and_webhooks(parts, keys)
    _add_dashboard(parts)
    return parts, (publish_link, reply_link, media_link)


def _add_access(parts: Parts, keys: Keys) -> None:
    settings = parts[Settings]
    parts.add(Credentials(parts[Database], secret_box(settings, keys.encryption, TOKENS)))
    parts.add(ApiKeys(parts[Database]))
    parts.add(AuditLog(parts[Database], keep=timedelta(days=settings.audit_days)))
    parts.add(SignIn(keys, now=lambda: datetime.now(UTC), monotonic=time.monotonic))
    parts.add(MediaLinks(keys.encryption, settings.former_token_encryption_key))
    rate, burst = settings.session_rate_per_minute, settings.session_burst
    parts.add(RateLimit(rate, time.monotonic, burst=burst))
    parts.add(SendWaits(settings.session_wait_limit))
    parts.add(EventStreams(settings.session_stream_limit))
    parts.add(LargeBodies(LARGE_BODIES_AT_ONCE))
    keep = timedelta(days=settings.media_days)
    limits = Limits(settings.media_max_bytes, settings.session_media_quota_bytes, keep)
    parts.add(Uploads(parts[Database], MediaStore(settings.upload_store), limits))
    parts.add(MediaAddressRule(settings.media_directory, settings.media_allowed_hosts))


def _add_sessions_and_messages(parts: Parts, media_link: BrokerLink, reply_to: str) -> None:
    database, bus, pending = parts[Database], parts[CommandBus], parts[PendingReplies]
    sessions = parts.add(SessionViews(database, parts[HostLiveness]))
    messages = parts.add(MessageViews(database, parts[HostLiveness]))
    requests = OwnerRequests(
        bus=bus,
        pending=pending,
        applied_sequence=partial(applied_sequence, database),
        reply_to=reply_to,
        clock=parts[HostClock],
    )
    parts.add(
        SessionLifecycle(
            database=database,
            credentials=parts[Credentials],
            requests=requests,
            views=sessions,
            audit=parts[AuditLog],
        )
    )
    about_messages = parts.add(
        MessageRequests(requests=requests, views=messages, notifications=parts[Notifications])
    )
    parts.add(
        Sending(
            look_up=about_messages.look_up_sent,
            bus=bus,
            pending=pending,
            views=messages,
            reply_to=reply_to,
            wait_seconds=parts[Settings].send_wait_seconds,
            clock=parts[HostClock],
        )
    )
    parts.add(SessionQuestions(requests, sessions))
    parts.add(MessageChanges(parts[Sending]))
    kept = KeptMedia(MediaStore(parts[Settings].upload_store))
    parts.add(MediaDownloads(requests, media_link, kept))


def _add_events_and_webhooks(parts: Parts, keys: Keys) -> None:
    database, settings = parts[Database], parts[Settings]
    feed = parts.add(Feed(database))
    parts.add(FeedTail(feed, parts[Notifications]))
    overlap = timedelta(seconds=settings.webhook_secret_overlap_seconds)
    box = secret_box(settings, keys.encryption, WEBHOOKS)
    parts.add(Endpoints(database, box, parts[AuditLog], overlap=overlap))
    parts.add(Deliveries(database))


def _add_dashboard(parts: Parts) -> None:
    bus, liveness, notifications = parts[CommandBus], parts[HostLiveness], parts[Notifications]
    readings = DashboardReadings(parts[Database], liveness)
    parts.add(SessionTable(readings, bus, notifications))
    parts.add(
        SessionDetails(
            messages=parts[MessageViews],
            readings=readings,
            endpoints=parts[Endpoints],
            deliveries=parts[Deliveries],
        )
    )
    parts.add(Changes(notifications, bus, liveness))


def _api_metrics(registry: CollectorRegistry, parts: Parts) -> ApiMetrics:
    metrics, bus = ApiMetrics(registry), parts[CommandBus]
    metrics.open_waits.set_function(lambda: parts[PendingReplies].open_waits)
    metrics.live_hosts.set_function(parts[HostLiveness].live_hosts)
    registry.register(FeedMetrics(parts[Feed]))
    metrics.broker_available.set_function(lambda: float(bus.is_connected))
    return metrics
