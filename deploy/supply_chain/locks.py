"""The packages in the images, from the services' lock files."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LOCKS = tuple(ROOT / f"services/{name}/requirements.lock" for name in ("api", "session-host"))
_ENTRY = re.compile(r"^([A-Za-z0-9][A-Za-z0-9._-]*)==", re.MULTILINE)


def packages() -> list[str]:
    """Package names, sorted."""
    return sorted({name for lock in LOCKS for name in _ENTRY.findall(lock.read_text())})
