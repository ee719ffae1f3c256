"""Memory of worker processes, from the kernel."""

from collections.abc import Iterable
from pathlib import Path


def proportional_bytes(pids: Iterable[int]) -> int:
    """Proportional set size of the processes: shared pages are divided among their users.

    Ended processes count 0. Without smaps_rollup (not Linux) the result is 0.
    """
    return sum(_of(pid) for pid in pids)


def _of(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    kilobytes = next((line.split()[1] for line in lines if line.startswith("Pss:")), "0")
    return int(kilobytes) * 1024
