"""What a worker's memory is bound by, and how it is shared with other workers'."""

import ctypes
import resource
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

_PR_SET_MEMORY_MERGE = 67


@dataclass(frozen=True)
class WorkerMemory:
    """`limit` is in bytes of private writable memory, untouched stacks included; None is none.

    The Go library ends a process that would exceed it: a history of hundreds of megabytes, read
    while a session links, ends that session's worker alone. The link survives, and WhatsApp does
    not send the history again. `merges` offers the pages to the kernel's same-page merging.
    """

    limit: int | None = None
    merges: bool = False

    def arguments(self) -> tuple[str, ...]:
        """For the fork server's command line."""
        return str(self.limit or 0), str(int(self.merges))

    @classmethod
    def from_arguments(cls, arguments: Sequence[str]) -> Self:
        """What `arguments` gave."""
        limit, merges = map(int, arguments)
        return cls(limit or None, bool(merges))

    def apply(self) -> None:
        """Bind and share this process's memory. A kernel without same-page merging changes nothing."""
        if self.limit is not None:
            resource.setrlimit(resource.RLIMIT_DATA, (self.limit, self.limit))
        if self.merges and sys.platform == "linux":
            ctypes.CDLL(None).prctl(_PR_SET_MEMORY_MERGE, 1, 0, 0, 0)
