"""What processes hold in memory while something goes on."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from tests.bench.figures import Figure

EVERY_SECONDS = 0.25


class Memory:
    """The sizes of one process, looked at four times a second; megabytes."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.sizes: list[float] = []

    def figures(self, measure: str) -> Sequence[Figure]:
        """Whether it stayed flat: the largest beside the one at a quarter of the time."""
        largest, at_a_quarter = max(self.sizes), self.sizes[len(self.sizes) // 4]
        return [
            Figure(
                f"{measure}: memory of the {self.name}, largest ÷ at a quarter",
                largest / at_a_quarter,
                target=1.2,
                better="less",
            ),
            Figure(f"{measure}: memory of the {self.name}, largest", largest, "MB"),
        ]


@asynccontextmanager
async def watched_memory(pids: Mapping[str, int]) -> AsyncIterator[Sequence[Memory]]:
    """Look during the block, at processes by name."""
    seen = {Memory(name): pid for name, pid in pids.items()}

    async def look() -> None:
        while True:
            for memory, pid in seen.items():
                if (size := resident_megabytes(pid)) is not None:
                    memory.sizes.append(size)
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
