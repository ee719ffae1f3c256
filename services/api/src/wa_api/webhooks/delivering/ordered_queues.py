"""Which sessions of an endpoint have something to deliver, and from when on. No I/O."""

from heapq import heapify, heappop, heappush
from uuid import UUID


class OrderedQueues:
    """Each lane is taken by one at a time and given back. Times are those of a monotonic clock."""

    def __init__(self) -> None:
        self._due: dict[UUID, float] = {}
        self._heap: list[tuple[float, UUID]] = []
        self._taken: set[UUID] = set()
        self._again: set[UUID] = set()

    def add(self, queue: UUID, at: float) -> None:
        """There is something in this lane. One that waits for its time goes on waiting."""
        if queue in self._taken:
            self._again.add(queue)
        elif queue not in self._due:
            self._due[queue] = at
            heappush(self._heap, (at, queue))

    def take(self, now: float) -> UUID | None:
        """A lane that is due, the longest due first."""
        if not self._heap or self._heap[0][0] > now:
            return None
        _, queue = heappop(self._heap)
        del self._due[queue]
        self._taken.add(queue)
        return queue

    def give_back(self, queue: UUID, at: float | None, now: float) -> None:
        """`at` says when it goes on; None: nothing was left, unless something came meanwhile."""
        self._taken.discard(queue)
        came = queue in self._again
        self._again.discard(queue)
        if at is not None or came:
            self.add(queue, now if at is None else at)

    def hasten(self, now: float) -> None:
        """Nothing waits for its time any longer."""
        self._due = dict.fromkeys(self._due, now)
        self._heap = [(now, queue) for queue in self._due]
        heapify(self._heap)

    @property
    def taken(self) -> int:
        """How many are being worked on."""
        return len(self._taken)

    @property
    def next_at(self) -> float | None:
        """When the next one is due; None if none is."""
        return self._heap[0][0] if self._heap else None
