"""Every metric, scraped from a ring on the real engine that has done a little of everything."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable

import aio_pika
import pytest
from prometheus_client import CollectorRegistry

from tests.deadlines import eventually
from tests.integration.webhooks.receiver import answers, running_receiver
from tests.scrape import Scrape, scraped
from tests.system.linking import link, worker_of
from tests.system.ring import Ring
from tests.system.rings import NewRing
from tests.whatsapp import StandIn
from wa_api.events.metrics import FeedMetrics
from wa_api.projecting.metrics import ProjectorMetrics
from wa_api.serving.metrics import ApiMetrics
from wa_api.webhooks.delivering.metrics import WebhookMetrics
from wa_contracts.topology import COMMANDS, PARTITIONS
from wa_runtime.retries import RETRIES
from wa_session_host.domain.observations import ClientVersion
from wa_session_host.engine.neonize.client_version import engine_version, shipped_library
from wa_session_host.health import EngineMetrics, PartitionMetrics, WorkerMetrics
from wa_session_host.metrics import HostMetrics

NUMBER, CONTACT, NOBODY = "919876543210", "12345678900", "447911123456"
VERSION = engine_version(shipped_library())
SEND_ROUTE = "/api/messages/send"
PROCESSES = ("api-0", "host-0", "projector", "webhooks")

ASSERTED: dict[str, Callable[[Scrape], bool]] = {
    # session-host
    "wa_sessions": lambda s: s.value("wa_sessions", status="working") == 1,
    "wa_open_messages": lambda s: s.value("wa_open_messages") == 0,
    "wa_messages": lambda s: (
        s.value("wa_messages_total", outcome="queued") == 2
        and s.value("wa_messages_total", outcome="sent") == 1
        and s.value("wa_messages_total", outcome="failed") == 1
    ),
    "wa_accept_to_ack_seconds": lambda s: (
        s.value("wa_accept_to_ack_seconds_count") == 1
        and 0 < s.value("wa_accept_to_ack_seconds_sum") < 30
    ),
    "wa_intake_lag_seconds": lambda s: (
        s.value("wa_intake_lag_seconds_count") >= 3
        and 0 < s.value("wa_intake_lag_seconds_sum") < 30
    ),
    "wa_relay_backlog": lambda s: s.value("wa_relay_backlog") == 0,
    "wa_relay_lag_seconds": lambda s: s.value("wa_relay_lag_seconds") == 0,
    "wa_partitions_held": lambda s: s.value("wa_partitions_held") == PARTITIONS,
    "wa_lease_renewals": lambda s: (
        s.value("wa_lease_renewals_total", result="renewed") >= 3
        and s.value("wa_lease_renewals_total", result="failed") == 0
    ),
    "wa_leases_lost": lambda s: s.value("wa_leases_lost_total") == 0,
    "wa_worker_restarts": lambda s: s.value("wa_worker_restarts_total") >= 1,
    "wa_retries": lambda s: s.value("wa_retries_total") == 0,  # nothing was unavailable
    "wa_observations_failed": lambda s: s.value("wa_observations_failed_total") == 0,
    "wa_media_kept": lambda s: (
        s.value("wa_media_kept_total", outcome="kept") == 0
        and s.value("wa_media_kept_total", outcome="failed") == 0
    ),
    "wa_messages_retry_requested": lambda s: s.value("wa_messages_retry_requested_total") == 0,
    "wa_incoming_messages": lambda s: (
        s.value("wa_incoming_messages_total", type="text", chat_kind="direct") == 0
    ),
    "wa_messages_set_aside": lambda s: (
        s.value("wa_messages_set_aside_total", code="rate_limited_by_whatsapp") == 0
    ),
    "wa_engine_errors_unrecognised": lambda s: s.value("wa_engine_errors_unrecognised_total") == 0,
    "wa_workers": lambda s: s.value("wa_workers") == 1,
    "wa_sessions_client_outdated": lambda s: s.value("wa_sessions_client_outdated") == 0,
    "wa_engine_info": lambda s: (
        s.value("wa_engine_info", engine=VERSION.engine, client_version=VERSION.client) == 1
    ),
    "wa_worker_memory_bytes": lambda s: 10e6 < s.value("wa_worker_memory_bytes") < 200e6,
    # api
    "wa_api_request_seconds": lambda s: (
        s.value("wa_api_request_seconds_count", route=SEND_ROUTE, status="200", method="POST") == 1
        and s.value("wa_api_request_seconds_count", route=SEND_ROUTE, status="500") == 1
    ),
    "wa_api_open_waits": lambda s: s.value("wa_api_open_waits") == 0,
    "wa_api_broker_available": lambda s: s.value("wa_api_broker_available") == 1,
    "wa_api_live_hosts": lambda s: s.value("wa_api_live_hosts") == 1,
    "wa_api_feed_reads": lambda s: s.value("wa_api_feed_reads_total") >= 1,
    # projector
    "wa_projector_events": lambda s: s.value("wa_projector_events_total", result="applied") >= 8,
    "wa_projector_message_events": lambda s: (
        s.value("wa_projector_message_events_total", type="message.sent") == 1
        and s.value("wa_projector_message_events_total", type="message.failed") == 1
    ),
    "wa_projector_lag_seconds": lambda s: 0 < s.value("wa_projector_lag_seconds") < 30,
    "wa_projector_gaps": lambda s: s.value("wa_projector_gaps") == 0,
    "wa_dead_letters": lambda s: s.value("wa_dead_letters_total") == 1,
    # webhooks
    "wa_webhook_deliveries": lambda s: (
        s.value("wa_webhook_deliveries_total", outcome="delivered") >= 2
    ),
    "wa_webhook_attempt_seconds": lambda s: (
        s.value("wa_webhook_attempt_seconds_count", result="succeeded") >= 2
        and s.value("wa_webhook_attempt_seconds_count", result="failed") >= 1
    ),
    "wa_webhook_backlog": lambda s: s.value("wa_webhook_backlog") >= 1,
    "wa_webhook_paused_endpoints": lambda s: s.value("wa_webhook_paused_endpoints") == 1,
    "wa_webhook_failing_endpoints": lambda s: s.value("wa_webhook_failing_endpoints") == 1,
    "wa_webhook_delivering": lambda s: s.value("wa_webhook_delivering") == 1,
}
"""What each metric is to say after `busy`. One without an entry here fails a test."""


@pytest.fixture(scope="module")
async def busy(new_ring: NewRing) -> AsyncIterator[Ring]:
    """A ring that has sent and failed, lost a worker and a command, and called endpoints."""
    async with StandIn.start() as whatsapp, running_receiver() as receiver:
        ring = await new_ring(
            engine="neonize",
            environment={"LEASE_SECONDS": "4", "WEBHOOK_ALLOWED_HOSTS": "127.0.0.1"},
            host_environment=whatsapp.engine_environment(),
        )
        ring.start_webhooks({"WEBHOOK_RETRY_FIRST_SECONDS": "600"})
        receiver.behaviours["/failing"] = answers(500)
        receiver.behaviours["/gone"] = answers(410)
        for path in ("/good", "/failing", "/gone"):
            hook = {"url": receiver.url(path), "events": ["message.*"]}
            assert (await ring.admin.post("/api/webhooks", json=hook)).status_code == 201
        whatsapp.contact(CONTACT)
        session = await link(ring, whatsapp.phone(NUMBER))
        worker = worker_of(ring, session["sessionId"])
        os.kill(worker, signal.SIGKILL)

        async def anew() -> bool:
            shown = await ring.session(session["sessionId"])
            return shown["status"] == "working" and worker_of(ring, session["sessionId"]) != worker

        await eventually(anew, what="the session works in another worker")
        for to, status in ((CONTACT, 200), (NOBODY, 500)):
            answer = await ring.send(session["token"], to=to, type="text", message="hello")
            assert answer.status_code == status, answer.text
        async with await aio_pika.connect(ring.broker) as connection:
            channel = await connection.channel()
            commands = await channel.get_exchange(COMMANDS, ensure=False)
            await commands.publish(aio_pika.Message(b"no command"), "p0")
        await _follow_events(ring)
        yield ring
        await ring.stop()


async def _follow_events(ring: Ring) -> None:
    """Somebody follows the events for a moment, so that the feed is read."""
    async with ring.admin.stream("GET", "/api/events", headers={"Last-Event-ID": "0"}) as stream:
        async with asyncio.timeout(10):
            async for line in stream.aiter_lines():
                if line.startswith("event: message.sent"):
                    return


@pytest.mark.parametrize("family", ASSERTED)
async def test_a_metric_says_what_happened(busy: Ring, family: str) -> None:
    async def says() -> bool:
        scrape = await scraped(busy, *PROCESSES)
        assert family in scrape.families
        return ASSERTED[family](scrape)

    await eventually(says, every=0.2, what=f"{family} is as it should be")


async def test_no_metric_is_shown_that_nothing_asserts(busy: Ring) -> None:
    shown = (await scraped(busy, *PROCESSES)).families
    ours = {name for name in shown if not name.startswith("process_")}
    assert {name for name in ours if not name.endswith("_created")} == set(ASSERTED)


def test_no_metric_exists_that_nothing_asserts() -> None:
    """Also of those that a process shows only when something has happened."""
    registry = CollectorRegistry()
    for kind in (ApiMetrics, ProjectorMetrics, WebhookMetrics, HostMetrics):
        kind(registry)
    registry.register(PartitionMetrics(tuple))
    registry.register(WorkerMetrics(tuple))
    registry.register(EngineMetrics(lambda: ClientVersion("engine", "2.3000.1")))
    registry.register(RETRIES)
    known = {metric.name for metric in registry.collect()}
    feed = {m.name for m in FeedMetrics(_NoReads()).collect()}  # type: ignore[arg-type]
    assert known | feed == set(ASSERTED)


class _NoReads:
    reads = 0
