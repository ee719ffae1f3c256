"""What a host remembers of messages beyond their queue: bounded caches over all sessions."""

from collections import OrderedDict
from dataclasses import dataclass
from datetime import datetime
from typing import Generic, TypeVar
from uuid import UUID

from wa_session_host.domain.message import Sent, Unknown

CACHED_SENT_MESSAGES = 20_000
"""Per host, over all sessions. Other messages are read from the store."""
CACHED_CONTENT_BYTES = 32 * 1024 * 1024
"""Content of the newest queued messages, per host. Other content is read before the send."""
Kept = TypeVar("Kept")


class BoundedCache(Generic[Kept]):
    """Keeps the newest values over all owners, up to a total weight."""

    def __init__(self, limit: int) -> None:
        """`limit` is the total weight: the number of values, where each weighs 1."""
        self._limit = limit
        self._weight = 0
        self._kept: OrderedDict[tuple[object, str], tuple[Kept, int]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, owner: object, key: str) -> Kept | None:
        kept = self._kept.get((owner, key))
        return None if kept is None else kept[0]

    def keep(self, owner: object, key: str, value: Kept, weight: int = 1) -> None:
        """Cache a value as the newest, replacing the key's former one."""
        self.pop(owner, key)
        self._kept[owner, key] = value, weight
        self._weight += weight
        while self._weight > self._limit:
            _, (_, oldest) = self._kept.popitem(last=False)
            self._weight -= oldest

    def pop(self, owner: object, key: str) -> Kept | None:
        """Remove and return a value; None if it is not cached."""
        value, weight = self._kept.pop((owner, key), (None, 0))
        self._weight -= weight
        return value


@dataclass(frozen=True, slots=True)
class TrackedMessage:
    """A message that was sent or may have been, with its stream's version and last change."""

    state: Sent | Unknown
    version: int
    correlation_id: UUID
    causation_id: UUID
    changed_at: datetime
