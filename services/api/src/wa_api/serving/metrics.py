"""A small honest set of figures, for Prometheus."""

from collections.abc import Iterator
from contextlib import contextmanager

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, start_http_server
from prometheus_client.core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector

from wa_api.events.feed import Feed

_LATENCY_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)


class ApiMetrics:
    """What the api counts."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.requests = Histogram(
            "wa_api_request_seconds",
            "Duration of HTTP requests until their last byte",
            ["method", "route", "status"],
            buckets=_LATENCY_BUCKETS,
            registry=registry,
        )
        self.open_waits = Gauge(
            "wa_api_open_waits", "Ids that requests wait for now", registry=registry
        )
        self.broker_available = Gauge(
            "wa_api_broker_available", "1 if commands can be published now", registry=registry
        )
        self.live_hosts = Gauge(
            "wa_api_live_hosts", "Session-hosts heard from lately", registry=registry
        )


class FeedMetrics(Collector):
    """How often the feed was read for those who follow events; notifications, not readers, count."""

    def __init__(self, feed: Feed) -> None:
        """`feed` counts its reads."""
        self._feed = feed

    def collect(self) -> list[Metric]:
        """The count now."""
        text = "Reads of the feed for event streams"
        return [CounterMetricFamily("wa_api_feed_reads", text, value=self._feed.reads)]


class ProjectorMetrics:
    """What the projector counts."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.events = Counter(
            "wa_projector_events_total",
            "Events by what became of them",
            ["result"],
            registry=registry,
        )
        self.messages = Counter(
            "wa_projector_message_events_total",
            "Message events by type",
            ["type"],
            registry=registry,
        )
        self.lag_seconds = Gauge(
            "wa_projector_lag_seconds",
            "Age of the newest event of the last batch when it was committed",
            registry=registry,
        )
        self.dead_letters = Counter(
            "wa_dead_letters_total",
            "Commands and events that could not be handled",
            registry=registry,
        )
        self.gaps = Gauge(
            "wa_projector_gaps",
            "Sessions with events missing, a replay asked for",
            registry=registry,
        )


class WebhookMetrics:
    """What the delivering process counts."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.deliveries = Counter(
            "wa_webhook_deliveries_total",
            "Deliveries by how they ended: delivered, given_up",
            ["outcome"],
            registry=registry,
        )
        self.attempts = Histogram(
            "wa_webhook_attempt_seconds",
            "Duration of attempts to deliver, by result: succeeded, failed",
            ["result"],
            buckets=_LATENCY_BUCKETS,
            registry=registry,
        )
        self.backlog = Gauge(
            "wa_webhook_backlog", "Deliveries that wait, paused endpoints' too", registry=registry
        )
        self.paused_endpoints = Gauge(
            "wa_webhook_paused_endpoints", "Endpoints that get nothing for now", registry=registry
        )
        self.failing_endpoints = Gauge(
            "wa_webhook_failing_endpoints",
            "Endpoints whose last attempt failed, paused ones left out",
            registry=registry,
        )
        self.delivering = Gauge(
            "wa_webhook_delivering",
            "1 if this process delivers, 0 if it stands by",
            registry=registry,
        )


@contextmanager
def metrics_served(registry: CollectorRegistry, host: str, port: int) -> Iterator[None]:
    """Answer `/metrics` from a thread during the block.

    Raises:
        OSError: the port is taken.
    """
    server, thread = start_http_server(port, addr=host, registry=registry)
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
