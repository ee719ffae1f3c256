"""Every code of an error has its row in the reference, and the documentation has those of sends."""

import re
from pathlib import Path

from pydantic_core import from_json

from wa_api.dashboard.reference.errors import ENDED, ERRORS, SESSION
from wa_api.http import problems
from wa_api.http.problems import Problem
from wa_contracts.session_events import SessionStatus

ROOT = Path(__file__).parents[3]
CODES = {row.code for group in ERRORS for row in group.rows}
SOURCES = [*ROOT.glob("services/*/src/**/*.py"), *ROOT.glob("libs/contracts/src/**/*.py")]
WRITTEN = re.compile(
    r'(?:Problem|no_qr|SendRefused|NotNow|DownloadFailed|MediaError|AskFailed)\(\s*"(\w+)"'
    r'|ErrorDetail\(\s*code="(\w+)"|(?:REFUSED|ASIDE), "(\w+)"'
)


def written_codes() -> set[str]:
    """The codes that stand in the sources."""
    found = (match for file in SOURCES for match in WRITTEN.finditer(file.read_text()))
    return {code for match in found for code in match.groups() if code}


def test_every_code_has_one_row() -> None:
    rows = [row.code for group in ERRORS for row in group.rows]
    assert len(rows) == len(set(rows))
    assert len(written_codes()) > 30
    assert written_codes() - CODES == set()


def test_every_state_of_a_session_has_a_row() -> None:
    states = {f"session_{status}" for status in SessionStatus}
    assert states - {row.code for row in SESSION} == set()


def test_an_error_answer_names_its_row() -> None:
    answer = Problem("queue_full", "The queue is full.").response()
    body = from_json(bytes(answer.body))
    assert body["docs"] == f"{problems.ERROR_REFERENCE}#queue_full"


def test_the_documentation_has_the_same_codes_of_sends() -> None:
    text = (ROOT / "docs" / "send-errors.md").read_text()
    first_cells = re.findall(r"^\| (`[^|]+`) \|", text, re.MULTILINE)
    documented = {code for cell in first_cells for code in re.findall(r"`(\w+)`", cell)}
    assert {row.code for row in ENDED} - documented == set()
    assert documented - CODES == set()
