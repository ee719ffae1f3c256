"""The health server of a host."""

import asyncio
import threading

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from wa_session_host import health
from wa_session_host.health import WorkerMetrics


async def test_the_workers_memory_is_read_beside_the_event_loop(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gate = threading.Event()

    def slow(_: object) -> int:
        return 4096 if gate.wait(60) else 0

    monkeypatch.setattr(health, "proportional_bytes", slow)
    metrics = WorkerMetrics(lambda: (1, 2))
    reading = asyncio.create_task(metrics.read())
    await asyncio.sleep(0)
    gate.set()  # by the loop: a read that blocks it would end without memory
    await asyncio.wait_for(reading, 90)
    registry = CollectorRegistry()
    registry.register(metrics)
    assert b"wa_worker_memory_bytes 4096.0" in generate_latest(registry)
    assert b"wa_workers 2.0" in generate_latest(registry)
