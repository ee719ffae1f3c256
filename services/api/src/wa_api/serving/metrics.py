"""Metrics of the process that serves HTTP."""

from prometheus_client import CollectorRegistry, Gauge, Histogram

LATENCY_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
"""Seconds."""


class ApiMetrics:
    def __init__(self, registry: CollectorRegistry) -> None:
        self.requests = Histogram(
            "wa_api_request_seconds",
            "Duration of HTTP requests until their last byte",
            ["method", "route", "status"],
            buckets=LATENCY_BUCKETS,
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
