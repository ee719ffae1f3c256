"""Checks that all packages in the images have an allowed licence, for `make check`."""

import json
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from deploy.supply_chain import locks

_PARTS = re.compile(r"\s*(?:;|\bAND\b|\bOR\b)\s*")
ALLOWED = frozenset(
    {
        *("MIT", "MIT License", "MIT-0", "MIT-CMU", "0BSD", "ISC", "ISC License (ISCL)"),
        *("BSD License", "BSD-2-Clause", "BSD-3-Clause", "3-Clause BSD License"),
        *("Apache-2.0", "Apache 2.0", "Apache License Version 2.0", "Apache Software License"),
        *("PSF-2.0", "Python Software Foundation License"),
        *("MPL-2.0", "Mozilla Public License 2.0 (MPL 2.0)"),
    }
)
BY_HAND = {
    # The wheel's metadata name no licence; the wheel contains the text of Apache-2.0. Its Go
    # library contains more: see docs/security.md, Supply chain.
    "neonize": "Apache-2.0",
}
UNMODIFIED = {
    # LGPL: used as the wheel that its authors publish, loaded by the decoder process alone.
    "pi_heif": "GNU Lesser General Public License v3 (LGPLv3)",
}
"""Packages with a licence that is fine for a library that is used as it is."""


def report(names: Sequence[str]) -> list[tuple[str, str, str]]:
    """(package, version, licence) of the installed packages, from their metadata."""
    tool = Path(sys.executable).with_name("pip-licenses")
    listed = subprocess.run(
        [tool, "--format=json", "--with-system", "--from=mixed", "--packages", *names],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    return [
        (one["Name"], one["Version"], BY_HAND.get(one["Name"], one["License"]))
        for one in json.loads(listed)
    ]


def is_allowed(licence: str) -> bool:
    """True if all licences of an expression are allowed, including all alternatives of an OR."""
    return all(part in ALLOWED for part in _PARTS.split(licence))


def main() -> int:
    found = report(locks.packages())
    if "--list" in sys.argv:
        for name, version, licence in found:
            print(f"{name} {version}: {licence}")
    refused = [one for one in found if not is_allowed(one[2]) and UNMODIFIED.get(one[0]) != one[2]]
    for name, version, licence in refused:
        print(
            f"{name} {version}: the licence {licence!r} is not on the list in deploy/supply_chain/licences.py"
        )
    return 1 if refused else 0


if __name__ == "__main__":
    sys.exit(main())
