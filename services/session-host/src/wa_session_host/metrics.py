"""Counters and histograms of a session-host. `health` adds the metrics read at a scrape."""

from prometheus_client import CollectorRegistry, Counter, Histogram

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 3600)


class HostMetrics:
    """Counters and histograms of one host."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.messages = Counter(
            "wa_messages_total",
            "Outgoing messages by outcome: queued, sent, failed, unknown, cancelled",
            ["outcome"],
            registry=registry,
        )
        self.accept_to_ack = Histogram(
            "wa_accept_to_ack_seconds",
            "From the moment a message is durable until WhatsApp acknowledged it",
            buckets=_SECONDS,
            registry=registry,
        )
        self.intake_lag = Histogram(
            "wa_intake_lag_seconds",
            "From the moment the api issued a command until its owner has dealt with it",
            buckets=_SECONDS,
            registry=registry,
        )
        self.lease_renewals = Counter(
            "wa_lease_renewals_total",
            "Renewals of all of the host's leases: renewed, failed",
            ["result"],
            registry=registry,
        )
        self.leases_lost = Counter(
            "wa_leases_lost_total",
            "Partitions that were lost, not handed over",
            registry=registry,
        )
        self.worker_restarts = Counter(
            "wa_worker_restarts_total",
            "Restarts of a session's engine on this host",
            registry=registry,
        )
        self.observations_failed = Counter(
            "wa_observations_failed_total",
            "Observations of engines that could not be recorded and were skipped",
            registry=registry,
        )
        self.incoming = Counter(
            "wa_incoming_messages_total",
            "Messages, changes and calls that arrived, by type and kind of chat, also if left out",
            ["type", "chat_kind"],
            registry=registry,
        )
        self.media_kept = Counter(
            "wa_media_kept_total",
            "Media of incoming messages that sessions keep: kept, failed",
            ["outcome"],
            registry=registry,
        )
        self.unreadable = Counter(
            "wa_messages_retry_requested_total",
            "Sent messages that a recipient could not read, and that the engine has no more",
            registry=registry,
        )
        self.set_aside = Counter(
            "wa_messages_set_aside_total",
            "Tries of a message that could not go then, by reason; other messages went on",
            ["code"],
            registry=registry,
        )
        self.engine_errors_unrecognised = Counter(
            "wa_engine_errors_unrecognised_total",
            "Sends whose error text is in no table: their outcome is unknown",
            registry=registry,
        )
        self.outcomes = {
            f"message.{outcome}": self.messages.labels(outcome)
            for outcome in ("queued", "sent", "failed", "unknown", "cancelled")
        }
        """Children of `messages` by event type."""
        self.set_aside.labels("rate_limited_by_whatsapp")
        for outcome in ("kept", "failed"):
            self.media_kept.labels(outcome)
        for result in ("renewed", "failed"):
            self.lease_renewals.labels(result)
