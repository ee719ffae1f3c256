"""The soak: messages through two hosts while strikes fall, then everything is compared.

`make soak` runs it alone: `python -m tests.faults.soak --messages 10000 --sessions 50 --seed 1`.
"""

import argparse
import asyncio
import json
import shutil
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from tests.faults.clients import Clients
from tests.faults.field import a_field
from tests.faults.findings import Findings
from tests.faults.strikes import KINDS, Strikes


@dataclass(frozen=True)
class Plan:
    """How much, and from which seed. `pause` is between two strikes, in seconds.

    If the messages end before so many `kinds` of strikes have fallen, more are sent.
    """

    messages: int
    sessions: int
    at_once: int
    pause: float
    seed: int
    kinds: int = len(KINDS)


async def soak(plan: Plan, directory: Path) -> Findings:
    """Run the plan on servers and processes of its own."""
    async with a_field(directory) as field:
        await field.open_sessions(plan.sessions)
        clients = Clients(field.ring, field.sessions, plan.seed)
        strikes = Strikes(field, seed=plan.seed)
        ends = asyncio.Event()

        def goes_on(begun: int) -> bool:
            return begun < plan.messages or strikes.kinds < plan.kinds

        async with asyncio.TaskGroup() as group:
            group.create_task(strikes.run(pause=plan.pause, ends=ends))
            await clients.send_while(goes_on, plan.at_once)
            ends.set()
        return await field.findings(clients, strikes.done)


def main() -> int:
    """Run by hand; the exit status says whether every promise held."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=10_000)
    parser.add_argument("--sessions", type=int, default=50)
    parser.add_argument("--at-once", type=int, default=50)
    parser.add_argument("--pause", type=float, default=4)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--kinds", type=int, default=len(KINDS))
    plan = Plan(**vars(parser.parse_args()))
    directory = Path(tempfile.mkdtemp(prefix="wa-soak-"))
    began = time.monotonic()
    findings = asyncio.run(soak(plan, directory))
    print(f"{'seed':<28} {plan.seed}\n{'seconds':<28} {time.monotonic() - began:.1f}")
    print(findings.table())
    problems = findings.problems()
    print(json.dumps(problems[:50], indent=2) if problems else "Every promise held.")
    if not problems:
        shutil.rmtree(directory)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
