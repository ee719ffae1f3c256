"""The WhatsApp client version in the engine's library: read it, or replace it in a copy.

WhatsApp refuses old versions (405). The library holds its version as the numbers 2, 3000 and one
more, from which it computes all else at its start. The engine has no setting for it.
Nothing here imports neonize, so that the host can read it without the library.
"""

import hashlib
import mmap
import os
import re
import struct
import sys
import tempfile
from contextlib import suppress
from importlib.metadata import version as installed_version
from importlib.util import find_spec
from pathlib import Path

from wa_session_host.domain.observations import ClientVersion

NUMBERS = range(10**9, 2 * 10**9)
"""Of the version's third number. A copy with another one could not be recognised again."""
COPIES_KEPT = 4
"""Copies in a folder, each as large as the library (19 MB). Hosts may share the folder."""

_VERSION = re.compile(rb"\x02\0\0\0\xb8\x0b\0\0(.{4})", re.DOTALL)
_NUMBER = struct.Struct("<I")


class VersionNotReplaced(Exception):
    """The library cannot be given another version. The text says why, and what is used instead."""


def shipped_library() -> Path:
    """The library that the installed engine loads."""
    spec = find_spec("neonize")
    folders = spec.submodule_search_locations if spec is not None else None
    found = [file for folder in folders or () for file in Path(folder).glob("neonize-*-*.*")]
    if len(found) != 1:
        raise FileNotFoundError(f"neonize has {len(found)} libraries, not one")
    return found[0]


def engine_version(library: Path) -> ClientVersion:
    """The engine's version, and the client version in that library; `unknown` if it has not one."""
    places = _places(library.read_bytes())
    client = f"2.3000.{places[0][1]}" if len(places) == 1 else "unknown"
    return ClientVersion(f"neonize {installed_version('neonize')}", client)


def patched_copy(library: Path, number: int, folder: Path) -> Path:
    """A copy of the library in `folder` that states version 2.3000.`number`; made once.

    Raises:
        VersionNotReplaced: the library does not hold exactly one version, or no process could load
            a copy from that folder.
    """
    original = library.read_bytes()
    places = _places(original)
    if len(places) != 1:
        problem = f"{library.name} holds a client version at {len(places)} places, not at one"
        raise VersionNotReplaced(problem)
    [(place, shipped_number)] = places
    if number == shipped_number:
        return library
    digest = hashlib.sha256(original).hexdigest()[:16]
    copy = folder / f"neonize-{digest}-{number}{library.suffix}"
    content = original[:place] + _NUMBER.pack(number) + original[place + _NUMBER.size :]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not copy.is_file() or copy.read_bytes() != content:
            _write(copy, content)
        copy.touch()
        _check_executable(copy)
        _delete_old_copies(folder, keep=copy)
    except OSError as error:
        problem = f"no copy of the library can be loaded from {folder}: {error.strerror}"
        raise VersionNotReplaced(problem) from error
    return copy


def load_from(library: str) -> None:
    """Let neonize load this library. For the fork server, before a worker loads any.

    neonize joins its own folder and the result; an absolute path wins.
    """
    from neonize.utils import platform  # noqa: PLC0415 - not for the host

    platform.generated_name = lambda *_, **__: library


def _places(library: bytes) -> list[tuple[int, int]]:
    """Positions and values of what can be the version's third number."""
    found = ((match.start(1), _NUMBER.unpack(match[1])[0]) for match in _VERSION.finditer(library))
    return [one for one in found if one[1] in NUMBERS]


def _write(path: Path, content: bytes) -> None:
    """Write beside and rename: another host may read the file meanwhile."""
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix="draft-")
    draft = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        draft.replace(path)
    except BaseException:
        draft.unlink()
        raise


def _check_executable(path: Path) -> None:
    """Raise PermissionError if the folder is mounted noexec."""
    with path.open("rb") as file:
        if sys.platform == "linux":
            mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ | mmap.PROT_EXEC).close()


def _delete_old_copies(folder: Path, *, keep: Path) -> None:
    copies = sorted(folder.glob("neonize-*"), key=lambda one: one.stat().st_mtime, reverse=True)
    for copy in [one for one in copies if one != keep][COPIES_KEPT - 1 :]:
        with suppress(OSError):
            copy.unlink()
