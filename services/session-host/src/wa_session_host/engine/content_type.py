"""What a file is, by its content, whatever its name or its sender says."""

from importlib import import_module
from pathlib import Path
from types import ModuleType


def mime_type_of(path: Path) -> str:
    """The file's MIME type as libmagic sees it, for example `image/jpeg`.

    Raises:
        OSError: the file cannot be read.
    """
    answer: str = _libmagic().from_file(str(path), mime=True)
    return answer


def bring_libmagic() -> None:
    """Make `import magic` work where the system has no libmagic: neonize imports it, too."""
    import_module("pylibmagic")


def _libmagic() -> ModuleType:
    bring_libmagic()
    return import_module("magic")
