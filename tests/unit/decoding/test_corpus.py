"""What the files of real programs become: the table of docs/media.md, and a damaged one of each."""

import random
import re
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

import pytest

from tests.unit.decoding.corpus import CONVERT, Made, became, office_files, pictures, streams
from tests.unit.host.test_uploaded_media import fetcher
from wa_contracts.internal.commands import MessageType
from wa_session_host.decoding.outcome import Refused
from wa_session_host.domain.message import Content

DOCUMENT = Path(__file__).parents[3] / "docs" / "media.md"
KEPT_BYTES = 16
"""Of a damaged file: its signature."""
OFFICE = "application/vnd.openxmlformats-officedocument"
TYPES = {
    "report.docx": f"{OFFICE}.wordprocessingml.document",
    "table.xlsx": f"{OFFICE}.spreadsheetml.sheet",
    "slides.pptx": f"{OFFICE}.presentationml.presentation",
}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Sequence[Made]:
    """Every picture, sound and video."""
    return [*pictures(), *streams(tmp_path_factory.mktemp("corpus"))]


def test_the_table_of_the_documentation_is_true(corpus: Sequence[Made], tmp_path: Path) -> None:
    told = [(one.kind, one.program, one.says, became(one, tmp_path)) for one in corpus]
    rows = []
    for (kind, program, outcome), alike in groupby(told, lambda row: (row[0], row[1], row[3])):
        rows.append(
            f"| `{kind}` | {program} | {_together([row[2] for row in alike])} | {outcome} |"
        )
    for name, (library, _) in office_files().items():
        rows.append(f"| `document` | {library} | {name} | goes out as it is, as {TYPES[name]} |")
    section = DOCUMENT.read_text().partition("## Files of real programs\n")[2].partition("\n## ")[0]
    documented = [line for line in section.splitlines() if line.startswith("| `")]
    assert documented == rows, "\n".join(rows)


def _together(names: Sequence[str]) -> str:
    """`JPEG (L)`, `JPEG (RGB)` as `JPEG (L, RGB)`."""
    parted = [re.fullmatch(r"(\w+) \(([\w;]+)\)", name) for name in names]
    if not all(parted):
        return ", ".join(names)
    pairs = [(one[1], one[2]) for one in parted if one]
    grouped = groupby(pairs, lambda pair: pair[0])
    return ", ".join(f"{form} ({', '.join(mode for _, mode in modes)})" for form, modes in grouped)


@pytest.mark.filterwarnings("ignore::UserWarning:PIL.*")  # Pillow tells what it skips
def test_a_damaged_file_of_each_kind_is_refused_with_a_sentence(
    corpus: Sequence[Made], tmp_path: Path
) -> None:
    noise = random.Random(7)
    for made in corpus:
        length = len(made.data) - KEPT_BYTES
        path = tmp_path / "in"
        path.write_bytes(made.data[:KEPT_BYTES] + noise.randbytes(length))
        with pytest.raises(Refused) as raised:
            CONVERT[made.kind](path, tmp_path / "out")
        assert raised.value.code in {"media_invalid", "media_too_large"}, made.says
        assert len(str(raised.value)) > 30, made.says


@pytest.mark.parametrize("name", TYPES)
@pytest.mark.parametrize("is_named", [True, False], ids=["with its name", "without a name"])
async def test_an_office_file_has_its_type(tmp_path: Path, name: str, is_named: bool) -> None:
    path = tmp_path / (name if is_named else "file")
    _, data = office_files()[name]
    path.write_bytes(data)
    ready = fetcher(tmp_path).ready(MessageType.DOCUMENT, Content(media_url=path.name))
    async with ready as file:
        assert file is not None
        assert (file.mime_type, file.path.read_bytes()) == (TYPES[name], data)
        assert file.file_name == (name if is_named else f"file{Path(name).suffix}")
