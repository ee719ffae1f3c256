"""Messages that were sent, or may have been, as receipts find them."""

from collections import OrderedDict
from dataclasses import dataclass
from datetime import datetime
from typing import Generic, TypeVar
from uuid import UUID

from wa_session_host.domain.message import Sent, Unknown

CACHED_SENT_MESSAGES = 20_000
"""Per host, over all sessions. Other messages are read from the store."""
Kept = TypeVar("Kept")


class BoundedCache(Generic[Kept]):
    """Keeps the `limit` newest values over all owners."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._kept: OrderedDict[tuple[object, str], Kept] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, owner: object, key: str) -> Kept | None:
        return self._kept.get((owner, key))

    def keep(self, owner: object, key: str, value: Kept) -> None:
        """Cache a value as the newest, replacing the key's former one."""
        self._kept[owner, key] = value
        self._kept.move_to_end((owner, key))
        if len(self._kept) > self._limit:
            self._kept.popitem(last=False)


@dataclass(frozen=True, slots=True)
class TrackedMessage:
    """A message that was sent or may have been, with its stream's version and last change."""

    state: Sent | Unknown
    version: int
    correlation_id: UUID
    causation_id: UUID
    changed_at: datetime
