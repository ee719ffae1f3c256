"""How many event streams each token has open."""

from wa_api.access.concurrency import Concurrency


class EventStreams(Concurrency):
    """Open event streams by session."""
