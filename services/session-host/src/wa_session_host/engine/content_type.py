"""File types by content, regardless of name and sender."""

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from types import ModuleType

ZIP_START = b"PK\x03\x04"
DIRECTORY_BYTES = 64 * 1024
"""Bytes at the end of a ZIP file in which its directory is looked for."""
OFFICE_PARTS: Mapping[bytes, str] = {
    b"word/document.xml": "wordprocessingml.document",
    b"xl/workbook.xml": "spreadsheetml.sheet",
    b"ppt/presentation.xml": "presentationml.presentation",
}
"""The part of an Office file that tells its type. Source: ECMA-376, part 2."""


def mime_type_of(path: Path) -> str:
    """The file's MIME type, for example `image/jpeg`: libmagic's, or an Office file's by its parts.

    Raises:
        OSError: the file cannot be read.
    """
    answer: str = _libmagic().from_file(str(path), mime=True)
    if answer in {"application/octet-stream", "application/zip"}:
        return _office_type(path) or answer
    return answer


def _office_type(path: Path) -> str | None:
    """The type of a ZIP file whose directory, at its end, names a part of an Office file."""
    with path.open("rb") as file:
        if file.read(len(ZIP_START)) != ZIP_START:
            return None
        file.seek(max(0, path.stat().st_size - DIRECTORY_BYTES))
        directory = file.read()
    found = (kind for part, kind in OFFICE_PARTS.items() if part in directory)
    kind = next(found, None)
    return kind and f"application/vnd.openxmlformats-officedocument.{kind}"


def bring_libmagic() -> None:
    """Enable `import magic` on systems without libmagic, for neonize too."""
    import_module("pylibmagic")


def _libmagic() -> ModuleType:
    bring_libmagic()
    return import_module("magic")
