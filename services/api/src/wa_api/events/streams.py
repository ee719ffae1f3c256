"""Limit of open event streams per token or API key."""

from wa_api.access.concurrency import Concurrency


class EventStreams(Concurrency):
    """Open event streams by token or API key."""
