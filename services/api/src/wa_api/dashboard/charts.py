"""Small bar charts of a session's last day, computed here and drawn by a template."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from wa_api.dashboard.readings import Hour

WIDTH, HEIGHT, GAP = 240, 56, 2


@dataclass(frozen=True)
class Bar:
    """One hour's bar in chart units, with its tooltip."""

    x: float
    y: float
    width: float
    height: float
    label: str


@dataclass(frozen=True)
class Chart:
    """A row of bars with a summary figure."""

    title: str
    tone: str
    summary: str
    bars: Sequence[Bar]
    width: int = WIDTH
    height: int = HEIGHT

    @property
    def description(self) -> str:
        """The chart in words, for screen readers."""
        return f"{self.title} in the last 24 hours: {self.summary}"


def charts_of(hours: Sequence[Hour]) -> Sequence[Chart]:
    sent, failed = sum(hour.sent for hour in hours), sum(hour.failed for hour in hours)
    waits = [hour.seconds_to_ack for hour in hours if hour.seconds_to_ack is not None]
    middle = _seconds(sorted(waits)[len(waits) // 2]) if waits else "—"
    acks = [hour.seconds_to_ack or 0.0 for hour in hours]
    return (
        Chart(
            *("Sent", "good", f"{sent:,}"),
            _bars(hours, [float(hour.sent) for hour in hours], lambda value: f"{value:,.0f} sent"),
        ),
        Chart(
            *("Failed or unknown", "bad", f"{failed:,}"),
            _bars(hours, [float(hour.failed) for hour in hours], lambda value: f"{value:,.0f}"),
        ),
        Chart(
            *("Median time to ack", "busy", middle),
            _bars(hours, acks, lambda value: _seconds(value) if value else "no message"),
        ),
    )


def _bars(
    hours: Sequence[Hour], values: Sequence[float], label_of: Callable[[float], str]
) -> Sequence[Bar]:
    """One bar per hour, scaled to the highest. A nonzero bar is at least 2 units high."""
    highest = max([*values, 0.0]) or 1.0
    step = WIDTH / max(1, len(values))
    heights = [max(HEIGHT * value / highest, 2.0) if value else 0.0 for value in values]
    return [
        Bar(
            x=round(place * step, 2),
            y=round(HEIGHT - height, 2),
            width=round(step - GAP, 2),
            height=round(height, 2),
            label=f"{hour.starts_at:%H:%M} UTC: {label_of(value)}",
        )
        for place, (hour, value, height) in enumerate(zip(hours, values, heights, strict=True))
    ]


def _seconds(value: float) -> str:
    return f"{value * 1000:,.0f} ms" if value < 1 else f"{value:,.1f} s"
