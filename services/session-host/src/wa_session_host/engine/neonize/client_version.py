"""The WhatsApp client version in the engine's library: read it, or replace it in a copy.

WhatsApp refuses old versions (405). The library holds its version as the numbers 2, 3000 and one
more, from which it computes all else at its start. The engine has no setting for it.
Nothing here imports neonize, so that the host can read it without the library.
"""

import re
import struct
from importlib.metadata import version as installed_version
from importlib.util import find_spec
from pathlib import Path

from wa_session_host.domain.observations import ClientVersion

LEAST_NUMBER, GREATEST_NUMBER = 10**9 + 1, 2 * 10**9 - 1
"""The third number of a client version. A copy with another one could not be recognised again."""
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


def _places(library: bytes) -> list[tuple[int, int]]:
    """Positions and values of what can be the version's third number."""
    found = ((match.start(1), _NUMBER.unpack(match[1])[0]) for match in _VERSION.finditer(library))
    return [one for one in found if LEAST_NUMBER <= one[1] <= GREATEST_NUMBER]
