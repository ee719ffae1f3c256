"""The dashboard's wording for endpoints and deliveries."""

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from wa_api.webhooks.deliveries import DeliveryShown, DeliveryStatus
from wa_api.webhooks.delivering.retry_rule import GivenUpReason, PauseReason
from wa_api.webhooks.endpoints import Endpoint, EndpointStatus

_WAITS = "What is meant for it waits."
_PAUSED: Mapping[PauseReason, str] = {
    PauseReason.OPERATOR: f"Paused by hand. {_WAITS}",
    PauseReason.GONE: f"It answered 410, Gone. {_WAITS}",
    PauseReason.UNREACHABLE: f"Nothing could be delivered for as long as it was tried. {_WAITS}",
    PauseReason.SECRET_UNREADABLE: (
        "TOKEN_ENCRYPTION_KEY has changed: make a new secret, give its headers again, then resume "
        f"it. {_WAITS}"
    ),
}
_GIVEN_UP: Mapping[GivenUpReason, str] = {
    GivenUpReason.RETRIES_EXHAUSTED: "Tried for as long as it was worth it.",
    GivenUpReason.BACKLOG_FULL: "Too much waited for this endpoint already.",
    GivenUpReason.EXPIRED: "It waited for longer than events are kept.",
    GivenUpReason.TEST_FAILED: "The test failed.",
}


@dataclass(frozen=True)
class Words:
    """A state as shown: its colour, its word, and an optional sentence."""

    tone: str
    word: str
    sentence: str = ""


def endpoint_words(endpoint: Endpoint) -> Words:
    error = endpoint.last_error or ""
    match endpoint.status:
        case EndpointStatus.PAUSED:
            reason = endpoint.status_reason or PauseReason.OPERATOR
            seen = f"Last time: {error} " if reason is PauseReason.UNREACHABLE else ""
            return Words("bad", "Paused", f"{seen}{_PAUSED[reason]}")
        case EndpointStatus.ENDED:
            return Words("idle", "Ended", "Its session was deleted.")
        case EndpointStatus.ACTIVE if endpoint.failing_since:
            return Words("warn", "Failing", f"{error} It is tried again, ever more seldom.")
        case EndpointStatus.ACTIVE:
            return Words("good", "Active")


def delivery_words(delivery: DeliveryShown) -> Words:
    match delivery.status:
        case DeliveryStatus.DELIVERED:
            return Words("good", "Delivered")
        case DeliveryStatus.GIVEN_UP:
            why = _GIVEN_UP[delivery.reason] if delivery.reason else ""
            return Words("bad", "Given up", f"{delivery.error or ''} {why}".strip())
        case DeliveryStatus.WAITING if delivery.attempts:
            return Words("warn", "Trying", delivery.error or "")
        case DeliveryStatus.WAITING:
            return Words("busy", "Waiting")


def host_and_path(url: str) -> str:
    """A URL without scheme and query, which may be long or secret."""
    parts = urlsplit(url)
    return f"{parts.netloc}{parts.path.rstrip('/')}"
