"""Log files of the services, one each, followed on the terminal.

A file between service and terminal keeps a slow terminal from blocking the service.
"""

import asyncio
import sys
from pathlib import Path
from typing import TextIO

_EVERY_SECONDS = 0.1


def start_log(folder: Path, name: str) -> Path:
    """Create a service's log file. The previous run's is kept as `.1`."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name.replace(' ', '-')}.log"
    if path.exists() and path.stat().st_size > 0:
        path.replace(path.with_suffix(".log.1"))
    path.touch(mode=0o600)
    return path


class LogTails:
    """Prints lines appended to log files."""

    def __init__(self, *, prefixed: bool, target: TextIO | None = None) -> None:
        self._prefixed = prefixed
        self._target = target or sys.stdout
        self._tails: list[_Tail] = []

    def add(self, name: str, path: Path) -> None:
        """Also print this file, from its start."""
        self._tails.append(_Tail(name, path, prefixed=self._prefixed))

    def show(self) -> None:
        """Print new lines."""
        for tail in self._tails:
            tail.show(self._target)

    async def follow(self) -> None:
        """Print new lines until cancelled."""
        while True:
            self.show()
            await asyncio.sleep(_EVERY_SECONDS)


class _Tail:
    def __init__(self, name: str, path: Path, *, prefixed: bool) -> None:
        self._path = path
        self._prefix = f"{name:<12} | " if prefixed else ""
        self._position = 0
        self._partial = b""

    def show(self, target: TextIO) -> None:
        with self._path.open("rb") as log:
            log.seek(self._position)
            fresh = log.read()
        self._position += len(fresh)
        *lines, self._partial = (self._partial + fresh).split(b"\n")
        target.writelines(f"{self._prefix}{line.decode(errors='replace')}\n" for line in lines)
        if lines:
            target.flush()
