"""What processes hold in memory while something goes on."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import psutil

from tests.bench.figures import Figure

EVERY_SECONDS = 0.25


class Course:
    """What something was, looked at again and again; memory in megabytes."""

    def __init__(self, name: str, unit: str = "MB") -> None:
        self.name = name
        self.unit = unit
        self.values: list[float] = []

    def figures(self, measure: str, *, flat: float = 1.2) -> Sequence[Figure]:
        """Whether it stayed flat: the largest beside the one at a quarter of the time."""
        largest, at_a_quarter = max(self.values), self.values[len(self.values) // 4]
        name = f"{measure}: {self.name}, largest"
        return [
            Figure(f"{name} ÷ at a quarter", largest / at_a_quarter, "", flat, "less"),
            Figure(name, largest, self.unit),
        ]


@asynccontextmanager
async def watched_memory(pids: Mapping[str, int]) -> AsyncIterator[Sequence[Course]]:
    """Look during the block, at processes by name."""
    seen = {Course(f"memory of the {name}"): pid for name, pid in pids.items()}

    async def look() -> None:
        while True:
            for course, pid in seen.items():
                if (size := resident_megabytes(pid)) is not None:
                    course.values.append(size)
            await asyncio.sleep(EVERY_SECONDS)

    looking = asyncio.create_task(look())
    try:
        await asyncio.sleep(0)
        yield list(seen)
    finally:
        looking.cancel()


def resident_megabytes(pid: int) -> float | None:
    """What the process holds now; None if it is gone."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return None
    found = [line.split()[1] for line in status.splitlines() if line.startswith("VmRSS")]
    return int(found[0]) / 1024 if found else None


def proportional_megabytes(pid: int) -> float:
    """What the process holds, what it shares divided among those that share it; 0 if it is gone."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0.0
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("Pss:"))


def used_megabytes() -> float:
    """What the whole machine uses and could not give back."""
    memory = psutil.virtual_memory()
    return float(memory.total - memory.available) / 2**20
