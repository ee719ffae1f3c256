"""The queues of one endpoint and the times when they are due. No I/O."""

from heapq import heapify, heappop, heappush
from uuid import UUID


class OrderedQueues:
    """Queues, each acquired by one task at a time. Times are monotonic."""

    def __init__(self) -> None:
        self._due: dict[UUID, float] = {}
        self._heap: list[tuple[float, UUID]] = []
        self._acquired: set[UUID] = set()
        self._added_meanwhile: set[UUID] = set()

    def add(self, queue: UUID, at: float) -> None:
        """Add a queue that has a delivery. A queue that waits for a retry keeps its time."""
        if queue in self._acquired:
            self._added_meanwhile.add(queue)
        elif queue not in self._due:
            self._due[queue] = at
            heappush(self._heap, (at, queue))

    def acquire(self, now: float) -> UUID | None:
        """Acquire the queue that is due the longest; None if none is due."""
        if not self._heap or self._heap[0][0] > now:
            return None
        _, queue = heappop(self._heap)
        del self._due[queue]
        self._acquired.add(queue)
        return queue

    def release(self, queue: UUID, at: float | None, now: float) -> None:
        """Release a queue, due again at `at`. With None, only if a delivery was added meanwhile."""
        self._acquired.discard(queue)
        was_added = queue in self._added_meanwhile
        self._added_meanwhile.discard(queue)
        if at is not None or was_added:
            self.add(queue, now if at is None else at)

    def make_due(self, now: float) -> None:
        """Make all queues due now."""
        self._due = dict.fromkeys(self._due, now)
        self._heap = [(now, queue) for queue in self._due]
        heapify(self._heap)

    @property
    def acquired(self) -> int:
        return len(self._acquired)

    @property
    def next_at(self) -> float | None:
        return self._heap[0][0] if self._heap else None
