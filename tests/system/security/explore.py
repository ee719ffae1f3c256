"""Schemathesis on the OpenAPI document of a running ring, as admin, as a token's holder, as nobody.

`python -m tests.system.security.explore --examples 200` starts a ring of its own and takes long; a short run
that is the same every time is a test.
"""

import argparse
import asyncio
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.standing import standing_ring
from tests.system.ring import Ring

FOLDER = Path(__file__).parent
ENVIRONMENT = {
    "SIMULATED_LINKS_AFTER": "0.1",
    "SESSION_RATE_PER_MINUTE": "1000000",
    "SESSION_QUEUE_LIMIT": "1000000",
}


@dataclass(frozen=True)
class Explored:
    """`passed` is whether no check failed; `report` is Schemathesis's own."""

    passed: bool
    report: str


async def callers_of(ring: Ring) -> dict[str, str | None]:
    """Who explores, with the bearer token; the admin, who may end all sessions, last."""
    session = await ring.create_session("explored")
    await ring.wait_for_status(session["sessionId"], "working")
    return {"token": session["token"], "nobody": None, "admin": ring.admin_key}


async def explore(ring: Ring, token: str | None, *options: str) -> Explored:
    """One run with all checks. Sends do not wait, as their outcome may well be a 500."""
    headers = ["-H", "Prefer: respond-async"]
    if token is not None:
        headers += ["-H", f"Authorization: Bearer {token}"]
    process = await asyncio.create_subprocess_exec(
        *(str(Path(sys.executable).with_name("st")), "--config-file", FOLDER / "schemathesis.toml"),
        *("run", f"{ring.url()}/openapi.json", "--checks", "all", "--no-color"),
        *("--exclude-checks", "not_a_server_error"),  # known_formats.py has a better one
        *("--suppress-health-check", "too_slow", *headers, *options),
        env={
            **os.environ,
            "PYTHONPATH": str(FOLDER.parents[2]),
            "SCHEMATHESIS_HOOKS": "tests.system.security.known_formats",
        },
        cwd=ring.directory,  # it keeps what it found where it runs
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        output, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return Explored(process.returncode == 0, output.decode())


async def run(examples: int, names: Sequence[str], options: Sequence[str]) -> bool:
    """Explore as each of them, one after the other; whether all passed."""
    passed = True
    async with standing_ring(environment=ENVIRONMENT) as ring:
        for name, token in (await callers_of(ring)).items():
            if name in names:
                found = await explore(ring, token, "--max-examples", str(examples), *options)
                print(f"===== {name}: {'passed' if found.passed else 'FAILED'}\n{found.report}")
                passed = passed and found.passed
    return passed


def main() -> int:
    """Run by hand."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--examples", type=int, default=200, help="for each operation and phase")
    parser.add_argument("--as", dest="names", default="admin,token,nobody")
    asked, options = parser.parse_known_args()
    return int(not asyncio.run(run(asked.examples, asked.names.split(","), options)))


if __name__ == "__main__":
    sys.exit(main())
