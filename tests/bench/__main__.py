"""Measures the product beside its bare parts, and says which targets are met.

`make bench`, or `python -m tests.bench sends projection …` for some of it. Starts what it needs,
prints one table, writes bench.json and bench.svg to `--folder`. Best on a machine that does nothing else.
"""

import argparse
import asyncio
import random
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path

import psutil

from tests.bench import (
    backlog,
    growth,
    lookups,
    many_sessions,
    projection,
    real_sessions,
    rebuild,
    sends,
    takeover,
)
from tests.bench.figures import Figure, table, write
from tests.bench.installation import Servers, started_servers

MEASURES: Mapping[str, Callable[[Servers], Awaitable[Sequence[Figure]]]] = {
    "sends": sends.measure,
    "projection": projection.measure,
    "rebuild": rebuild.measure,
    "backlog": backlog.measure,
    "many_sessions": many_sessions.measure,
    "growth": growth.measure,
    "takeover": takeover.measure,
    "lookups": lookups.measure,
    "real_sessions": real_sessions.measure,
}
TRAFFIC_SECONDS, SHORT_TRAFFIC_SECONDS = 120, 2
LINKED_SESSIONS = (50,)


async def measure(
    names: Sequence[str],
    *,
    short: bool,
    traffic_seconds: float | None = None,
    stored_messages: int | None = None,
    linked_sessions: Sequence[int] | None = None,
) -> tuple[list[Figure], list[str]]:
    """Take the measures, each on an installation of its own; the figures, and which came to none."""
    figures: list[Figure] = []
    failed: list[str] = []
    seconds = traffic_seconds or (SHORT_TRAFFIC_SECONDS if short else TRAFFIC_SECONDS)
    with tempfile.TemporaryDirectory(prefix="wa-bench-", ignore_cleanup_errors=True) as directory:
        made = started_servers(
            Path(directory),
            short=short,
            traffic_seconds=seconds,
            stored_messages=stored_messages,
            linked_sessions=linked_sessions or ((3,) if short else LINKED_SESSIONS),
        )
        async with made as servers:
            for name in names:
                print(f"Measuring: {name} … ", end="", flush=True)
                began = time.monotonic()
                try:
                    figures += await MEASURES[name](servers)
                except (AssertionError, TimeoutError, ExceptionGroup) as error:
                    failed.append(name)
                    print(f"came to nothing: {error!r}; after ", end="")
                print(f"{time.monotonic() - began:.0f} s", flush=True)
    return figures, failed


def main() -> int:
    """Measure what is asked for; the exit status, 1 if a measure came to nothing."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("measures", nargs="*", metavar="measure", help=", ".join(MEASURES))
    parser.add_argument(
        "--short", action="store_true", help="a minute or two; too short to judge by"
    )
    parser.add_argument(
        "--traffic-seconds",
        type=float,
        help=f"of real_sessions; {TRAFFIC_SECONDS} where nothing is said, {SHORT_TRAFFIC_SECONDS} "
        "with --short. A slow leak shows only in 1800 or more",
    )
    parser.add_argument(
        "--stored-messages",
        type=int,
        help="of takeover and lookups; where nothing is said, "
        f"{takeover.STORED_MESSAGES:,} and {lookups.STORED_MESSAGES:,}, with --short "
        f"{takeover.SHORT_STORED_MESSAGES:,}",
    )
    parser.add_argument(
        "--linked-sessions",
        type=int,
        nargs="+",
        metavar="N",
        help=f"of real_sessions, one installation after the other; {LINKED_SESSIONS[0]} where "
        "nothing is said. Each takes about 17 MB",
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--folder", type=Path, default=Path("test-results/bench"))
    asked = parser.parse_args()
    if unknown := set(asked.measures) - set(MEASURES):
        parser.error(f"no such measure: {', '.join(sorted(unknown))}")
    random.seed(asked.seed)
    load_before = psutil.getloadavg()[0]
    figures, failed = asyncio.run(
        measure(
            asked.measures or list(MEASURES),
            short=asked.short,
            traffic_seconds=asked.traffic_seconds,
            stored_messages=asked.stored_messages,
            linked_sessions=asked.linked_sessions,
        )
    )
    path = write(figures, asked.folder, seed=asked.seed, short=asked.short, load_before=load_before)
    print(f"\n{table(figures)}\n\nWritten: {path} and {path.with_suffix('.svg')}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
