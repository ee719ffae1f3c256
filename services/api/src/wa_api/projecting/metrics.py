"""Metrics of the projector."""

from prometheus_client import CollectorRegistry, Counter, Gauge


class ProjectorMetrics:
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
