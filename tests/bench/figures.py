"""What was measured: one table for people, JSON for programs, a chart."""

import json
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Literal
from xml.sax.saxutils import escape

import psutil

PACKAGES = ("fastapi", "uvicorn", "aio-pika", "asyncpg", "pydantic", "neonize")


@dataclass(frozen=True)
class Figure:
    """One figure. `target` is what it should be at least or at most; None: it is just told.

    `rounds` are the values of the single rounds, of which `value` is the median.
    """

    name: str
    value: float
    unit: str = ""
    target: float | None = None
    better: Literal["more", "less"] = "more"
    rounds: Sequence[float] = ()

    @property
    def is_met(self) -> bool | None:
        """Whether the target is reached; None without one."""
        if self.target is None:
            return None
        return self.value >= self.target if self.better == "more" else self.value <= self.target


def table(figures: Sequence[Figure]) -> str:
    """One line each: the name, the value, the spread of the rounds, the target."""
    lines = [f"{'':<66} {'measured':>12}  {'rounds':<19} target"]
    for one in figures:
        spread = f"{min(one.rounds):.3g} to {max(one.rounds):.3g}" if one.rounds else ""
        wanted = ""
        if one.target is not None:
            sign, verdict = "≥" if one.better == "more" else "≤", "met" if one.is_met else "MISSED"
            wanted = f"{sign} {one.target:g}  {verdict}"
        lines.append(f"{one.name:<66} {_shown(one):>12}  {spread:<19} {wanted}".rstrip())
    return "\n".join(lines)


def _shown(one: Figure) -> str:
    number = f"{one.value:,.0f}" if one.value >= 100 else f"{one.value:.3g}"
    return f"{number} {one.unit}".strip()


def write(
    figures: Sequence[Figure], folder: Path, *, seed: int, short: bool, load_before: float
) -> Path:
    """Write `bench.json` and `bench.svg`; the path of the first.

    `load_before` is the machine's load average over the minute before anything was measured.
    """
    folder.mkdir(parents=True, exist_ok=True)
    record = {
        "measuredAt": datetime.now(UTC).isoformat(timespec="seconds"),
        "seed": seed,
        "short": short,
        "machine": {
            "system": f"{platform.system()} {platform.release()} {platform.machine()}",
            "python": platform.python_version(),
            "cores": psutil.cpu_count(),
            "memoryMegabytes": psutil.virtual_memory().total // 1_000_000,
            "loadBefore": load_before,
        },
        "versions": {name: version(name) for name in PACKAGES},
        "figures": [asdict(one) | {"met": one.is_met} for one in figures],
    }
    path = folder / "bench.json"
    path.write_text(json.dumps(record, indent=2, ensure_ascii=False) + "\n")
    (folder / "bench.svg").write_text(chart([one for one in figures if one.target]))
    return path


def chart(figures: Sequence[Figure]) -> str:
    """Each figure as a bar beside its target, the target being the same width for all."""
    row, left, target_at, width = 34, 520, 260, 1080
    height = row * len(figures) + 40
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}">',
        '<g font-family="sans-serif" font-size="13">',
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
    ]
    for number, one in enumerate(figures):
        assert one.target is not None
        y = 16 + number * row
        length = min(one.value / one.target * target_at, width - left - 150)
        colour = "#0b7a55" if one.is_met else "#b3261e"
        beside = left + max(length, target_at) + 10
        sign = "at least" if one.better == "more" else "at most"
        parts += [
            f'<text x="{left - 12}" y="{y + 15}" text-anchor="end">{escape(one.name)}</text>',
            f'<rect x="{left}" y="{y}" width="{length:.0f}" height="20" rx="3" fill="{colour}"/>',
            f'<text x="{beside:.0f}" y="{y + 15}">{escape(_shown(one))}, {sign} {one.target:g}</text>',
        ]
    line = left + target_at
    parts += [
        f'<line x1="{line}" y1="8" x2="{line}" y2="{height - 24}" stroke="#444" stroke-dasharray="4 3"/>',
        f'<text x="{line}" y="{height - 8}" text-anchor="middle" fill="#444">target</text>',
        "</g></svg>",
    ]
    return "\n".join(parts) + "\n"
