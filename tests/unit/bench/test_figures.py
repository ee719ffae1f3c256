"""The figures of `make bench`: what is met, what people, programs and the chart show of them."""

import json
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from tests.bench.figures import Figure, chart, table, write

REACHED = Figure("sends", 0.75, target=0.7, rounds=(0.7, 0.75, 0.9))
TOO_MUCH = Figure("memory <largest>", 30, "MB", target=25, better="less")
TOLD = Figure("threads", 1234, "")


@pytest.mark.parametrize(
    ("figure", "met"),
    [
        (REACHED, True),
        (TOO_MUCH, False),
        (TOLD, None),
        (Figure("exactly enough", 0.7, target=0.7), True),
        (Figure("exactly as much as may be", 25, target=25, better="less"), True),
        (Figure("too little", 0.69, target=0.7), False),
        (Figure("little enough", 24, target=25, better="less"), True),
    ],
)
def test_a_figure_knows_whether_its_target_is_met(figure: Figure, met: bool | None) -> None:
    assert figure.is_met is met


def test_the_table_has_a_line_for_each() -> None:
    _, reached, too_much, told = table([REACHED, TOO_MUCH, TOLD]).splitlines()
    assert reached.split() == ["sends", "0.75", "0.7", "to", "0.9", "≥", "0.7", "met"]
    assert too_much.split() == ["memory", "<largest>", "30", "MB", "≤", "25", "MISSED"]
    assert told.split() == ["threads", "1,234"]


def test_the_record_has_all_figures_and_what_they_were_measured_on(tmp_path: Path) -> None:
    figures = [REACHED, TOO_MUCH, TOLD]
    path = write(figures, tmp_path / "made", seed=7, short=True, load_before=0.25)
    record = json.loads(path.read_text())
    assert [one["met"] for one in record["figures"]] == [True, False, None]
    assert record["figures"][0]["rounds"] == [0.7, 0.75, 0.9]
    assert (record["seed"], record["short"]) == (7, True)
    assert record["machine"]["cores"] > 0
    assert record["machine"]["loadBefore"] == 0.25
    assert record["versions"]["asyncpg"]
    assert "memory" in path.with_suffix(".svg").read_text()
    assert "threads" not in path.with_suffix(".svg").read_text()


def test_the_chart_draws_a_bar_beside_each_target() -> None:
    drawn = ET.fromstring(chart([REACHED, TOO_MUCH]))
    bars = [one for one in drawn.iter() if one.tag.endswith("rect") and one.get("rx")]
    texts = [one.text for one in drawn.iter() if one.tag.endswith("text")]
    assert len({bar.get("fill") for bar in bars}) == 2
    assert float(bars[0].get("width", 0)) > 260 - 1
    assert "memory <largest>" in texts
    assert "30 MB, at most 25" in texts
