"""Liveness, readiness and metrics of a session-host, on a separate port."""

import asyncio
import time
from collections.abc import Callable, Sequence

from aiohttp import web
from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from wa_contracts.session_events import SessionStatus
from wa_runtime.retries import RETRIES
from wa_session_host.domain.observations import ClientVersion
from wa_session_host.engine.port import Engines
from wa_session_host.partitions.outdated import refused_versions
from wa_session_host.partitions.partition import Partition
from wa_session_host.worker_memory import proportional_bytes


class PartitionMetrics(Collector):
    """Metrics read from the held partitions at each scrape."""

    def __init__(self, partitions: Callable[[], Sequence[Partition]]) -> None:
        self._partitions = partitions

    def collect(self) -> list[Metric]:
        """Sessions by status, open messages, relay backlog and lag, partitions held."""
        sessions = GaugeMetricFamily(
            "wa_sessions", "Sessions owned by this host.", labels=["status"]
        )
        owners = [o for p in self._partitions() for o in p.sessions.values()]
        statuses = [owner.status for owner in owners]
        # Statuses without a session too: an autoscaler takes an absent sample for a failed scrape.
        for status in SessionStatus:
            sessions.add_metric([str(status)], statuses.count(status))
        return [
            sessions,
            GaugeMetricFamily(
                "wa_open_messages",
                "Messages that have not ended.",
                value=sum(len(owner.runner) for owner in owners),
            ),
            GaugeMetricFamily(
                "wa_sessions_client_outdated",
                "Sessions that wait because WhatsApp refuses the client version that they tried.",
                value=len(refused_versions(self._partitions())),
            ),
            GaugeMetricFamily(
                "wa_relay_backlog",
                "Stored events that are not confirmed as published.",
                value=sum(p.relay.backlog for p in self._partitions()),
            ),
            GaugeMetricFamily(
                "wa_partitions_held", "Partitions held.", value=len(self._partitions())
            ),
            GaugeMetricFamily(
                "wa_relay_lag_seconds",
                "Age of the oldest stored event that is not confirmed as published.",
                value=max((_lag_seconds(p) for p in self._partitions()), default=0.0),
            ),
        ]


def _lag_seconds(partition: Partition) -> float:
    oldest = partition.relay.oldest_at
    return 0.0 if oldest is None else (partition.context.session.clock() - oldest).total_seconds()


class WorkerMetrics(Collector):
    """Metrics of the engines' worker processes; none with the simulated engine."""

    def __init__(self, pids: Callable[[], Sequence[int]]) -> None:
        self._pids = pids
        self._memory = 0

    async def read(self) -> None:
        """Read the memory, in a thread: about 0.1 ms per worker, more on a busy machine."""
        self._memory = await asyncio.to_thread(proportional_bytes, tuple(self._pids()))

    def collect(self) -> list[Metric]:
        """Number of the workers, and their memory at the last `read`."""
        return [
            GaugeMetricFamily("wa_workers", "Worker processes that run.", value=len(self._pids())),
            GaugeMetricFamily(
                "wa_worker_memory_bytes",
                "Proportional set size of all workers.",
                value=self._memory,
            ),
        ]


class EngineMetrics(Collector):
    """The engine's version and its WhatsApp client version, as labels."""

    def __init__(self, version: Callable[[], ClientVersion]) -> None:
        self._version = version

    def collect(self) -> list[Metric]:
        """One sample, of the engines that start now."""
        version = self._version()
        info = GaugeMetricFamily(
            "wa_engine_info",
            "Engine and WhatsApp client version of engines that start now; always 1.",
            labels=["engine", "client_version"],
        )
        info.add_metric([version.engine, version.client], 1)
        return [info]


class Health:
    """The HTTP server of `/livez`, `/readyz` and `/metrics`."""

    def __init__(self, partitions: Callable[[], Sequence[Partition]]) -> None:
        """Ready means started, whatever the state of its dependencies."""
        self._partitions = partitions
        self._started = time.monotonic()
        self._reaches: dict[str, Callable[[], bool]] = {
            "broker": lambda: False,
            "database": lambda: False,
        }
        self._workers: WorkerMetrics | None = None
        self._engines: Engines | None = None
        self.registry = CollectorRegistry()
        self.registry.register(PartitionMetrics(partitions))
        self.registry.register(RETRIES)
        ProcessCollector(registry=self.registry)

    def watch_engines(self, engines: Engines) -> None:
        """Report the engines' version in `/readyz`, and both versions and workers as metrics."""
        self._engines = engines
        self._workers = WorkerMetrics(lambda: engines.worker_pids)
        self.registry.register(self._workers)
        self.registry.register(EngineMetrics(lambda: engines.version))

    def watch_dependencies(
        self, *, broker: Callable[[], bool], database: Callable[[], bool]
    ) -> None:
        """Report broker and database in `/readyz`; both are `unavailable` until this call."""
        self._reaches = {"broker": broker, "database": database}

    async def start(self, host: str, port: int) -> web.AppRunner:
        """Serve until the returned runner's `cleanup`."""
        app = web.Application()
        app.add_routes(
            [
                web.get("/livez", self._livez),
                web.get("/readyz", self._readyz),
                web.get("/metrics", self._metrics),
            ]
        )
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, host, port).start()
        return runner

    async def _livez(self, _request: web.Request) -> web.Response:
        return web.json_response({"alive": True})

    async def _readyz(self, _request: web.Request) -> web.Response:
        held = self._partitions()
        version = self._engines.version if self._engines is not None else None
        return web.json_response(
            {
                "ready": True,
                **{
                    name: "available" if reaches() else "unavailable"
                    for name, reaches in self._reaches.items()
                },
                "engine": version and version.engine,
                "clientVersion": version and version.client,
                "partitions": len(held),
                "announced": sum(partition.announced for partition in held),
                "sessions": sum(len(partition.sessions) for partition in held),
                "uptimeSeconds": round(time.monotonic() - self._started, 1),
            }
        )

    async def _metrics(self, _request: web.Request) -> web.Response:
        if self._workers is not None:
            await self._workers.read()
        return web.Response(
            body=generate_latest(self.registry), headers={"Content-Type": CONTENT_TYPE_LATEST}
        )
