"""docs/whatsapp-answers.md has each row of the code's tables, and names tests that exist."""

import re
from collections.abc import Iterable
from pathlib import Path

import pytest

from tests.unit.host.test_incoming_kinds import UNSUPPORTED
from wa_session_host.engine.neonize.incoming import CHANGES, KINDS, SILENT, WRAPPERS
from wa_session_host.engine.neonize.outgoing.send_errors import IN_GROUPS, TABLE, Row, Verdict

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs/whatsapp-answers.md").read_text()
WORDS = {
    Verdict.SESSION_WAITS: "waits",
    Verdict.SET_ASIDE: "set aside",
    Verdict.REFUSED: "ends",
    Verdict.UNKNOWN: "ends as unknown",
}


def rows(heading: str) -> list[list[str]]:
    """The cells of the table beneath a heading, without the table's head."""
    section = PAGE.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")][2:]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]


def in_code(names: Iterable[str]) -> set[str]:
    """Each as the page writes it."""
    return {f"`{name}`" for name in names}


def test_every_field_has_its_row() -> None:
    told = {row[0]: row[1] for row in rows("Messages that arrive")}
    assert set(told) == in_code([*KINDS, *CHANGES, *WRAPPERS])
    for field, kind in KINDS.items():
        assert f"`{kind}`" in told[f"`{field}`"]
    for names in (SILENT, UNSUPPORTED):
        assert in_code(names) <= set(re.findall(r"`\w+`", PAGE))


def test_every_error_text_has_its_row_in_the_same_order() -> None:
    def expected(row: Row) -> tuple[str, str, str]:
        pattern = "`" + row.pattern.replace("|", r"\|") + "`"
        where = " (groups only)" if row in IN_GROUPS else ""
        code = "outcome_unknown" if row.verdict is Verdict.UNKNOWN else row.code
        return pattern + where, WORDS[row.verdict], f"`{code}`" if code else ""

    told = [tuple(row[:3]) for row in rows("Answers to a send") if not row[0].startswith("any")]
    assert told[:-1] == [expected(row) for row in (*IN_GROUPS, *TABLE)]


NAMED = sorted(set(re.findall(r"`((?:unit|integration|system)/[\w/]+\.py)(?:::(\w+))?`", PAGE)))


@pytest.mark.parametrize(("file", "test"), NAMED)
def test_what_the_page_names_is_there(file: str, test: str) -> None:
    text = (ROOT / "tests" / file).read_text()
    assert not test or f"def {test}(" in text
