"""Measures the product beside its bare parts, and says which targets are met.

`make bench`, or `python -m tests.bench sends projection …` for some of it. Starts what it needs,
prints one table, writes bench.json and bench.svg to `--folder`. Best on a machine that does nothing else.
"""

import argparse
import asyncio
import random
import tempfile
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path

from tests.bench import backlog, projection, rebuild, sends
from tests.bench.figures import Figure, table, write
from tests.bench.installation import Servers, started_servers

MEASURES: Mapping[str, Callable[[Servers], Awaitable[Sequence[Figure]]]] = {
    "sends": sends.measure,
    "projection": projection.measure,
    "rebuild": rebuild.measure,
    "backlog": backlog.measure,
}


async def measure(names: Sequence[str], *, short: bool) -> list[Figure]:
    """Take the measures, each on an installation of its own."""
    figures: list[Figure] = []
    with tempfile.TemporaryDirectory(prefix="wa-bench-", ignore_cleanup_errors=True) as directory:
        async with started_servers(Path(directory), short=short) as servers:
            for name in names:
                print(f"Measuring: {name} …", flush=True)
                figures += await MEASURES[name](servers)
    return figures


def main() -> None:
    """Measure what is asked for."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("measures", nargs="*", metavar="measure", help=", ".join(MEASURES))
    parser.add_argument("--short", action="store_true", help="a minute; judges nothing")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--folder", type=Path, default=Path("test-results/bench"))
    asked = parser.parse_args()
    if unknown := set(asked.measures) - set(MEASURES):
        parser.error(f"no such measure: {', '.join(sorted(unknown))}")
    random.seed(asked.seed)
    figures = asyncio.run(measure(asked.measures or list(MEASURES), short=asked.short))
    path = write(figures, asked.folder, seed=asked.seed, short=asked.short)
    print(f"\n{table(figures)}\n\nWritten: {path} and {path.with_suffix('.svg')}")


if __name__ == "__main__":
    main()
