"""Composition root of a session-host: commands `run` and `migrate`."""

import asyncio
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from pathlib import Path

import asyncpg
import structlog
import uvloop

from wa_runtime.broker import BrokerLink
from wa_runtime.channel_writer import ChannelWriter
from wa_runtime.garbage_collection import tune_collector
from wa_runtime.logs import configure_logs
from wa_runtime.media_store.kept_media import KeptMedia
from wa_runtime.media_store.store import MediaStore
from wa_runtime.migrations import migrate
from wa_runtime.postgres import DATABASE_ERRORS, KeptConnection, skip_reset
from wa_runtime.retries import until_available
from wa_runtime.traces import configure_traces
from wa_session_host.domain.pacing import PaceRule
from wa_session_host.engine.neonize.worker_memory import WorkerMemory
from wa_session_host.engine.port import Engines
from wa_session_host.engine.process.client_versions import ClientVersions
from wa_session_host.engine.process.worker_engines import WorkerEngines
from wa_session_host.engine.simulated.engine import Script, SimulatedEngines
from wa_session_host.engine.simulated.server import SimulatedServer
from wa_session_host.health import Health
from wa_session_host.media.conversion import Converter
from wa_session_host.media.fetching import MediaFetcher
from wa_session_host.media.spool import own_spool
from wa_session_host.metrics import HostMetrics
from wa_session_host.partitions.media_keeping import MediaKeeping
from wa_session_host.partitions.outdated import follow_versions
from wa_session_host.partitions.partition import PartitionContext
from wa_session_host.partitions.supervisor import Supervisor
from wa_session_host.publishing.media_transfer import MediaTransfer
from wa_session_host.publishing.outbox import Outbox
from wa_session_host.sessions.context import SessionContext
from wa_session_host.sessions.tracked_message import (
    CACHED_CONTENT_BYTES,
    CACHED_SENT_MESSAGES,
    BoundedCache,
)
from wa_session_host.settings import Settings
from wa_session_host.store.event_store import EventStore
from wa_session_host.store.group_commit import GroupCommitWriter
from wa_session_host.store.incoming_media import IncomingMedia
from wa_session_host.store.leases import DatabaseClock, Leases
from wa_session_host.store.retention import StreamRetention

log = structlog.get_logger()

PREFETCH = 40
"""Unacknowledged commands of a queue, each up to 300 KB: bounds a host's memory."""
CONNECT_SECONDS = 5.0
COMMAND_SECONDS = 30.0
USAGE = "usage: python -m wa_session_host run|migrate"


def main(arguments: list[str]) -> int:
    """Run a command; return the exit status."""
    settings = Settings()
    configure_logs(settings.log_level, settings.log_format)
    configure_traces("wa-session-host", settings.otel_exporter_otlp_endpoint)
    match arguments:
        case ["run"]:
            uvloop.run(_run_until_signalled(settings))
        case ["migrate"]:
            url = settings.session_host_database_url.get_secret_value()
            try:
                asyncio.run(migrate(url, "wa_session_host"))
            except TimeoutError as error:
                sys.stderr.write(f"{error}\n")
                return 1
        case _:
            print(USAGE)  # noqa: T201
            return 2
    return 0


async def _run_until_signalled(settings: Settings) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    tune_collector()
    await run_host(settings, stop)


async def run_host(settings: Settings, stop: asyncio.Event) -> None:
    """Own sessions until `stop` is set, then hand them over."""
    async with AsyncExitStack() as stack:
        supervisor_ready: list[Supervisor] = []
        health = Health(lambda: [p for s in supervisor_ready for p in s.partitions])
        server = await health.start(settings.health_host, settings.health_port)
        stack.push_async_callback(server.cleanup)
        pool = await _database(settings, stop)
        if pool is None:
            return
        stack.push_async_callback(pool.close)
        writing, leasing = _kept_connection(settings), _kept_connection(settings)
        stack.callback(writing.terminate)
        stack.callback(leasing.terminate)
        publishing, consuming, handing_over = await stack.enter_async_context(_broker(settings))
        spool = stack.enter_context(own_spool(settings.spool, settings.host_id))
        engines = _engines(settings)
        stack.push_async_callback(engines.close)
        versions = _client_versions(settings)
        await engines.use(await versions.library())
        health.watch_engines(engines)
        await engines.prepare()
        await publishing.wait_first_attempt(CONNECT_SECONDS)  # for the first heartbeat
        clock = DatabaseClock()
        session = _session_context(
            settings,
            pool=pool,
            writing=writing,
            engines=engines,
            clock=clock,
            spool=spool,
            metrics=HostMetrics(health.registry),
        )
        transfer = MediaTransfer(
            Outbox(handing_over), spool=spool, max_bytes=settings.media_max_bytes
        )
        supervisor = Supervisor(
            settings.host_id,
            leases=Leases(leasing, settings.host_id, settings.lease_seconds, clock),
            context=PartitionContext(
                session=session,
                outbox=Outbox(publishing),
                retention=StreamRetention(
                    pool, settings.host_id, timedelta(days=settings.retention_days)
                ),
                media_transfer=transfer,
                media_keeping=_media_keeping(settings, session, transfer),
                queue_limit=settings.session_queue_limit,
                queue_max_bytes=settings.session_queue_max_bytes,
            ),
            commands=consuming,
            lease_seconds=settings.lease_seconds,
            stop=stop,
        )
        supervisor_ready.append(supervisor)
        health.watch_dependencies(
            broker=lambda: publishing.writer is not None,
            database=lambda: supervisor.reaches_database,
        )
        log.info("session_host_started", host=settings.host_id, engine=settings.engine)
        await _supervise(supervisor, engines, versions)
    log.info("session_host_stopped", host=settings.host_id)


def _media_keeping(
    settings: Settings, session: SessionContext, transfer: MediaTransfer
) -> MediaKeeping:
    return MediaKeeping(
        session.incoming_media,
        KeptMedia(MediaStore(settings.upload_store)),
        transfer,
        session.metrics,
        session_bytes=settings.session_media_quota_bytes,
    )


async def _supervise(supervisor: Supervisor, engines: Engines, versions: ClientVersions) -> None:
    """Run the supervisor to its end, and follow the wanted client version meanwhile."""
    async with asyncio.TaskGroup() as group:
        following = group.create_task(
            follow_versions(versions, engines, lambda: supervisor.partitions)
        )
        await supervisor.run()
        following.cancel()


def _session_context(
    settings: Settings,
    *,
    pool: "asyncpg.Pool[asyncpg.Record]",
    writing: KeptConnection,
    engines: WorkerEngines | SimulatedEngines,
    clock: DatabaseClock,
    spool: Path,
    metrics: HostMetrics,
) -> SessionContext:
    return SessionContext(
        writer=GroupCommitWriter(writing, settings.host_id, clock),
        store=EventStore(pool, settings.host_id),
        engines=engines,
        media=MediaFetcher(
            media_root=settings.media_folder,
            spool=spool,
            max_bytes=settings.media_max_bytes,
            allowed_hosts=settings.media_allowed_hosts,
            store=MediaStore(settings.upload_store),
            ca_file=settings.media_ca_file,
            converter=Converter(
                engines.start_decoder, spool=spool, max_bytes=settings.media_max_bytes
            ),
        ),
        incoming_media=IncomingMedia(pool, keep=timedelta(days=settings.media_days)),
        clock=clock,
        metrics=metrics,
        sent_messages=BoundedCache(CACHED_SENT_MESSAGES),
        contents=BoundedCache(CACHED_CONTENT_BYTES),
        pace=PaceRule(settings.pace_per_minute, settings.pace_per_day),
        login_seconds=settings.login_seconds,
        retention=timedelta(days=settings.retention_days),
    )


def _engines(settings: Settings) -> WorkerEngines | SimulatedEngines:
    if settings.engine == "simulated":
        return SimulatedEngines(
            Script(
                links_after=settings.simulated_links_after,
                qr_lives=settings.simulated_qr_seconds,
                receipts=settings.simulated_receipts,
                qr_codes=settings.simulated_qr_codes,
                server=SimulatedServer(settings.simulated_server)
                if settings.simulated_server
                else None,
            )
        )
    return WorkerEngines(
        settings.device_store_url.get_secret_value(),
        starts_per_second=settings.session_starts_per_second,
        memory=WorkerMemory(settings.worker_memory_limit, settings.worker_memory_merging),
    )


def _client_versions(settings: Settings) -> ClientVersions:
    wanted = settings.whatsapp_client_version if settings.engine == "neonize" else ""
    return ClientVersions(wanted, settings.engine_folder, settings.whatsapp_web_url)


async def _database(
    settings: Settings, stop: asyncio.Event
) -> "asyncpg.Pool[asyncpg.Record] | None":
    """Open the pool once the database is available; None if `stop` is set first."""

    async def open_pool() -> "asyncpg.Pool[asyncpg.Record]":
        return await asyncpg.create_pool(
            settings.session_host_database_url.get_secret_value(),
            min_size=2,
            max_size=5,
            timeout=CONNECT_SECONDS,
            command_timeout=COMMAND_SECONDS,
            reset=skip_reset,
        )

    async with asyncio.TaskGroup() as group:
        opening = group.create_task(until_available("open_pool", open_pool, on=DATABASE_ERRORS))
        stopping = group.create_task(stop.wait())
        await asyncio.wait((opening, stopping), return_when=asyncio.FIRST_COMPLETED)
        opening.cancel()
        stopping.cancel()
    return None if opening.cancelled() else opening.result()


def _kept_connection(settings: Settings) -> KeptConnection:
    url = settings.session_host_database_url.get_secret_value()
    return KeptConnection(
        lambda: asyncpg.connect(url, timeout=CONNECT_SECONDS, command_timeout=COMMAND_SECONDS)
    )


@asynccontextmanager
async def _broker(settings: Settings) -> AsyncIterator[tuple[BrokerLink, BrokerLink, BrokerLink]]:
    """Connections for publishing, consuming and media, kept open inside the block."""
    url = settings.amqp_url.get_secret_value()
    publishing = BrokerLink(url, "session-host, publishing")
    consuming = BrokerLink(url, "session-host, consuming", _limit_prefetch)
    media = BrokerLink(url, "session-host, media")
    async with asyncio.TaskGroup() as group:
        kept = [group.create_task(link.run()) for link in (publishing, consuming, media)]
        yield publishing, consuming, media
        for task in kept:
            task.cancel()


async def _limit_prefetch(writer: ChannelWriter) -> None:
    await writer.channel.set_qos(prefetch_count=PREFETCH)
