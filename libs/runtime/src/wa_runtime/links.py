"""Paths with links followed, the same on every Python."""

from pathlib import Path


def follow_links(path: Path) -> Path:
    """The path without links, absolute. What does not exist is kept as it is.

    Raises:
        RuntimeError: circular links. (Python 3.13 and later return them unresolved.)
        ValueError: U+0000.
    """
    followed = path.resolve()
    try:
        is_link = followed.is_symlink()
    except OSError:  # too long a name
        is_link = False
    if is_link:
        raise RuntimeError(f"circular links: {path}")
    return followed
