"""Metrics of the webhook process."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)


class WebhookMetrics:
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
            buckets=_BUCKETS,
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
