"""Checks that no tracked file names a machine's paths or a package registry, for `make check`."""

import re
import subprocess
import sys
from pathlib import Path

# Written in pieces, so that this file passes its own check.
_FORBIDDEN = re.compile(
    "|".join(
        (
            r"(?<![\w.])/(?:root|home/[a-z]\w*|Users/\w+)/",
            r"\bpypi" + r"\.org",
            r"\bfiles\.python" + r"hosted\.org",
            r"\bregistry\.npm" + r"js\.org",
            r"\bdeb\.debian" + r"\.org",
            r"file:///" + r"(?:opt|root|home)\b",
        )
    )
)


def offences(root: Path) -> list[str]:
    """`path:line: match` for every forbidden text in tracked files below `root`.

    The path of `root` itself is forbidden too.
    """
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=root, capture_output=True, check=True
    ).stdout.decode()
    forbidden = re.compile(f"{_FORBIDDEN.pattern}|{re.escape(str(root))}(?![\\w.-])")
    found: list[str] = []
    for name in filter(None, listed.split("\0")):
        path = root / name
        if path.is_symlink() or not path.is_file():
            continue
        data = path.read_bytes()
        if b"\0" in data[:1024]:
            continue
        for number, line in enumerate(data.decode(errors="replace").splitlines(), start=1):
            found += [f"{name}:{number}: {m.group()}" for m in forbidden.finditer(line)]
    return found


def main() -> int:
    found = offences(Path(__file__).resolve().parents[2])
    for offence in found:
        print(f"{offence}: a machine's path or a registry does not belong into a tracked file")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
