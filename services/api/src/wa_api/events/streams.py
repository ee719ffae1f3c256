"""Limit of open event streams per token."""

from wa_api.access.concurrency import Concurrency


class EventStreams(Concurrency):
    """Open event streams by session."""
