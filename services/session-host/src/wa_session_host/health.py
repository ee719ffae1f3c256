"""Liveness, readiness and metrics of a session-host, on a port of its own."""

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

from wa_session_host.partition import Partition


class HostMetrics(Collector):
    """Counts taken from the partitions when they are asked for."""

    def __init__(self, partitions: Callable[[], Sequence[Partition]]) -> None:
        """`partitions` gives what the host holds now."""
        self._partitions = partitions

    def collect(self) -> list[Metric]:
        """Sessions by status, open messages, and events that wait for the relay."""
        sessions = GaugeMetricFamily(
            "wa_sessions", "Sessions owned by this host.", labels=["status"]
        )
        owners = [o for p in self._partitions() for o in p.sessions.values()]
        statuses = [str(owner.status) for owner in owners if owner.status is not None]
        for status in sorted(set(statuses)):
            sessions.add_metric([status], statuses.count(status))
        return [
            sessions,
            GaugeMetricFamily(
                "wa_open_messages",
                "Messages that have not ended.",
                value=sum(len(owner.runner) for owner in owners),
            ),
            GaugeMetricFamily(
                "wa_relay_backlog",
                "Stored events that are not confirmed as published.",
                value=sum(p.relay.backlog for p in self._partitions()),
            ),
            GaugeMetricFamily(
                "wa_partitions_held", "Partitions held.", value=len(self._partitions())
            ),
        ]


class Health:
    """The HTTP server of `/livez`, `/readyz` and `/metrics`."""

    def __init__(self, partitions: Callable[[], Sequence[Partition]]) -> None:
        """Ready means: started, whatever its dependencies do."""
        self._partitions = partitions
        self._started = time.monotonic()
        self._registry = CollectorRegistry()
        self._registry.register(HostMetrics(partitions))
        ProcessCollector(registry=self._registry)

    async def start(self, host: str, port: int) -> web.AppRunner:
        """Serve; the runner's `cleanup` ends it."""
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
        return web.json_response(
            {
                "ready": True,
                "partitions": len(held),
                "announced": sum(partition.announced for partition in held),
                "sessions": sum(len(partition.sessions) for partition in held),
                "uptimeSeconds": round(time.monotonic() - self._started, 1),
            }
        )

    async def _metrics(self, _request: web.Request) -> web.Response:
        return web.Response(
            body=generate_latest(self._registry), headers={"Content-Type": CONTENT_TYPE_LATEST}
        )
