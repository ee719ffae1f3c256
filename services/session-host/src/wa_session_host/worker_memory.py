"""How much memory worker processes take, as the kernel tells it."""

from collections.abc import Iterable
from pathlib import Path


def proportional_bytes(pids: Iterable[int]) -> int:
    """The memory of these processes, what they share divided among those that share it.

    Processes that have ended count nothing, nor do any where the kernel does not tell (not Linux).
    """
    return sum(_of(pid) for pid in pids)


def _of(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    kilobytes = next((line.split()[1] for line in lines if line.startswith("Pss:")), "0")
    return int(kilobytes) * 1024
