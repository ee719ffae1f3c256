"""The newest so many of something, for many owners together."""

from collections import OrderedDict
from typing import Generic, TypeVar

Kept = TypeVar("Kept")


class Recent(Generic[Kept]):
    """Keeps at most `limit` values in all, whatever the number of owners; the oldest go first."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._kept: OrderedDict[tuple[object, str], Kept] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, owner: object, key: str) -> Kept | None:
        """What an owner keeps under a key, if it is still there."""
        return self._kept.get((owner, key))

    def keep(self, owner: object, key: str, value: Kept) -> None:
        """Keep a value as the newest of all, in place of an earlier one of this key."""
        self._kept[owner, key] = value
        self._kept.move_to_end((owner, key))
        if len(self._kept) > self._limit:
            self._kept.popitem(last=False)
