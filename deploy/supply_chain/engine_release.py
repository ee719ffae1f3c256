"""Warns of a newer engine in the package index, for `make check`.

WhatsApp refuses old engines several times a year. A newer one is a hint, no fault: the check always
passes, and says nothing without an index.
"""

import re
import subprocess
import sys
from pathlib import Path

from packaging.version import Version

from deploy.supply_chain.locks import ROOT

SECONDS = 30
LOCK = ROOT / "services/session-host/requirements.lock"
NEWER = (
    "neonize {newest} is available, {locked} is in use: WhatsApp refuses old engines in time. "
    "Raise it in services/session-host/pyproject.toml, then run `make lock` and `make test`."
)
_ENTRY = re.compile(r"^neonize==(\S+)", re.MULTILINE)


def warning(locked: str, resolved: str) -> str | None:
    """The sentence to print, from the lock file and what the index resolves to."""
    in_use, found = _ENTRY.search(locked), _ENTRY.search(resolved)
    if in_use is None or found is None or Version(found[1]) <= Version(in_use[1]):
        return None
    return NEWER.format(newest=found[1], locked=in_use[1])


def main() -> int:
    uv = Path(sys.executable).with_name("uv")
    options = ["--no-deps", "--quiet", "--no-header", "--no-annotate"]
    try:
        done = subprocess.run(
            [uv, "pip", "compile", "-", *options],
            input="neonize\n",
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return 0
    said = warning(LOCK.read_text(), done.stdout)
    if said is not None:
        print(f"Warning: {said}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
