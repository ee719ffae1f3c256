"""Checks that no package in the images has a known vulnerability, for `make check`.

Without a network or an index with that service, the check prints a sentence and passes: a missing
look-up must neither stop work nor look like a clean result.
"""

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from deploy.supply_chain.locks import LOCKS

SECONDS = 120
NOT_MADE = "Known holes were not looked for: {reason}. Run `make check` again where they can be."


@dataclass(frozen=True)
class Audit:
    """Result of pip-audit. `skipped` is the number of packages without a look-up."""

    audited: int
    skipped: int
    holes: tuple[str, ...]


def read(answer: str) -> Audit:
    """Parse pip-audit's JSON.

    Raises:
        ValueError: The output is not JSON.
    """
    packages = json.loads(answer)["dependencies"]
    holes = tuple(
        f"{one['name']} {one['version']}: {hole['id']}, mended in "
        f"{', '.join(hole['fix_versions']) or 'no version yet'}"
        for one in packages
        for hole in one.get("vulns", ())
    )
    skipped = sum("skip_reason" in one for one in packages)
    return Audit(len(packages) - skipped, skipped, holes)


def verdict(audit: Audit) -> tuple[int, list[str]]:
    """The exit status and the lines to print."""
    said = [f"{hole}: raise it by `make lock`" for hole in audit.holes]
    if audit.audited == 0:
        said.append(NOT_MADE.format(reason="the package index tells nothing about them"))
    elif audit.skipped:
        said.append(f"{audit.skipped} packages could not be looked up for known holes.")
    return (1 if audit.holes else 0), said


def main() -> int:
    tool = Path(sys.executable).with_name("pip-audit")
    options = ["--require-hashes", "--disable-pip", "--progress-spinner=off", "--format=json"]
    locks = [word for lock in LOCKS for word in ("--requirement", str(lock))]
    try:
        done = subprocess.run(
            [tool, *options, *locks], capture_output=True, text=True, timeout=SECONDS, check=False
        )
        status, said = verdict(read(done.stdout))
    except subprocess.TimeoutExpired:
        status, said = 0, [NOT_MADE.format(reason=f"no answer within {SECONDS} s")]
    except (ValueError, KeyError, TypeError):
        last = (done.stderr.strip().splitlines() or ["no output"])[-1]
        status, said = 0, [NOT_MADE.format(reason=f"pip-audit says {last[:200]!r}")]
    print("\n".join(said), end="\n" if said else "")
    return status


if __name__ == "__main__":
    sys.exit(main())
