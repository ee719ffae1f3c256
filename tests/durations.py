"""How long each test module took last, so that a run begins with the longest ones.

`tests/durations.json` is what a whole run took on two cores; a run's own figures go to
`.cache/test-durations.json` and count from the next run on. A module without figures comes first.
"""

import json
import math
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

FOLDER = Path(__file__).parent
COMMITTED = FOLDER / "durations.json"
LAST_RUN = FOLDER.parent / ".cache" / "test-durations.json"


def known() -> dict[str, float]:
    """The seconds of each module, by its path in the repository."""
    return {**_read(COMMITTED), **_read(LAST_RUN)}


def rank(durations: Mapping[str, float], module: str) -> float:
    """To sort by: the longest first."""
    return -durations.get(module, math.inf)


class Recorder:
    """Adds up what the tests of each module took, fixtures included."""

    def __init__(self) -> None:
        self._seconds: defaultdict[str, float] = defaultdict(float)

    def add(self, module: str, seconds: float) -> None:
        """One phase of one test of that module."""
        self._seconds[module] += seconds

    def write(self) -> None:
        """Keep the figures for the next run."""
        if self._seconds:
            LAST_RUN.parent.mkdir(exist_ok=True)
            kept = {**_read(LAST_RUN), **{m: round(s, 1) for m, s in self._seconds.items()}}
            draft = LAST_RUN.with_suffix(".new")
            draft.write_text(json.dumps(dict(sorted(kept.items())), indent=1) + "\n")
            draft.replace(LAST_RUN)


def _read(path: Path) -> dict[str, float]:
    try:
        found: dict[str, float] = json.loads(path.read_text())
    except (FileNotFoundError, ValueError):
        return {}
    return found
