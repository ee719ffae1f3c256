"""Processes of a ring standing for pods: probed and ended as the manifests say."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import httpx

from tests.deadlines import eventually
from tests.system.ring import Ring
from tests.unit.deploy.manifests import Resource, one

PROBE_EVERY_SECONDS = 0.2
_WORKLOADS = {
    "api": ("Deployment", "wa-api"),
    "projector": ("Deployment", "wa-projector"),
    "webhooks": ("Deployment", "wa-webhooks"),
    "host": ("StatefulSet", "wa-session-host"),
}
_PORT_SETTINGS = {
    ("api", "http"): "PORT",
    ("projector", "metrics"): "PROJECTOR_METRICS_PORT",
    ("webhooks", "metrics"): "WEBHOOKS_METRICS_PORT",
    ("host", "health"): "HEALTH_PORT",
}
"""Which setting holds the port that a manifest names, as in the images."""


class Kubelet:
    """Does to a ring's processes what Kubernetes does to pods, with production's manifests."""

    def __init__(self, ring: Ring) -> None:
        self._ring = ring
        self.restarted: list[str] = []
        """What failed its liveness probe as often in a row as makes Kubernetes restart it."""

    async def replace(self, name: str) -> None:
        """End a ready process within its grace period, start it again, wait until it is ready.

        Raises:
            AssertionError: it had to be killed, or did not end with 0.
        """
        await self._ready(name)
        grace = _template(name)["spec"]["terminationGracePeriodSeconds"]
        assert await self._ring.end(name, within=grace), f"{name} had to be killed"
        assert self._ring.processes[name].exit_code == 0, self._ring.log(name)[-2000:]
        await self._ring.restart(name)
        await self._ready(name)

    async def _ready(self, name: str) -> None:
        await eventually(lambda: self._passes(name, "readinessProbe"), what=f"{name} is ready")

    @asynccontextmanager
    async def watching(self) -> AsyncIterator[None]:
        """Ask for life during the block, much more often than Kubernetes would."""
        async with asyncio.TaskGroup() as group:
            watch = group.create_task(self._watch())
            yield
            watch.cancel()

    async def _watch(self) -> None:
        failures: Counter[str] = Counter()
        while True:
            for name in [n for n in self._ring.processes if n.partition("-")[0] in _WORKLOADS]:
                is_alive = await self._passes(name, "livenessProbe")
                failures[name] = 0 if is_alive else failures[name] + 1
                if failures[name] == _container(name)["livenessProbe"]["failureThreshold"]:
                    self.restarted.append(name)
            await asyncio.sleep(PROBE_EVERY_SECONDS)

    async def _passes(self, name: str, kind: str) -> bool:
        probe: Mapping[str, Any] = _container(name)[kind]
        ask, role = probe["httpGet"], name.partition("-")[0]
        port = self._ring.processes[name].orders.env[_PORT_SETTINGS[role, ask["port"]]]
        async with httpx.AsyncClient(timeout=probe["timeoutSeconds"], trust_env=False) as client:
            try:
                answer = await client.get(f"http://127.0.0.1:{port}{ask['path']}")
            except httpx.HTTPError:
                return False
        return answer.status_code < 400


def _template(name: str) -> Resource:
    kind, workload = _WORKLOADS[name.partition("-")[0]]
    template: Resource = one("production", kind, workload)["spec"]["template"]
    return template


def _container(name: str) -> Resource:
    container: Resource = _template(name)["spec"]["containers"][0]
    return container
