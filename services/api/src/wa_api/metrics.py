"""A small honest set of figures, for Prometheus."""

from collections.abc import Iterator
from contextlib import contextmanager

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, start_http_server
from prometheus_client.core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector

from wa_api.feed import Feed

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
