"""File types by content, regardless of name and sender."""

from importlib import import_module
from pathlib import Path
from types import ModuleType


def mime_type_of(path: Path) -> str:
    """The file's MIME type according to libmagic, for example `image/jpeg`.

    Raises:
        OSError: the file cannot be read.
    """
    answer: str = _libmagic().from_file(str(path), mime=True)
    return answer


def bring_libmagic() -> None:
    """Enable `import magic` on systems without libmagic, for neonize too."""
    import_module("pylibmagic")


def _libmagic() -> ModuleType:
    bring_libmagic()
    return import_module("magic")
