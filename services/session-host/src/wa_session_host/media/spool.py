"""The host's folder for media in transfer."""

import fcntl
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import structlog

log = structlog.get_logger()

LOOSE_FILE_SECONDS = 86_400
"""Files beside the folders are an older version's. One of this age belongs to no transfer."""


@contextmanager
def own_spool(root: Path, host: str) -> Iterator[Path]:
    """An empty folder of this host, deleted at the end. Folders of ended hosts are deleted.

    A lock on the folder, which ends with the process, shows that its host runs: several hosts may
    share `root`.
    """
    root.mkdir(parents=True, exist_ok=True)
    own = root / host
    descriptor = _locked(own)
    try:
        for left in own.iterdir():
            left.unlink()
        _delete_left_by_others(root, own)
        yield own
    finally:
        shutil.rmtree(own, ignore_errors=True)
        os.close(descriptor)


def _locked(folder: Path) -> int:
    """Make and lock a folder, also if another host deletes it at the same time."""
    while True:
        folder.mkdir(exist_ok=True)
        descriptor = os.open(folder, os.O_RDONLY)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        if folder.exists() and folder.stat().st_ino == os.fstat(descriptor).st_ino:
            return descriptor
        os.close(descriptor)


def _delete_left_by_others(root: Path, own: Path) -> None:
    for other in root.iterdir():
        if other.is_dir() and other != own:
            _delete_if_ended(other)
        elif other.is_file() and other.stat().st_mtime < time.time() - LOOSE_FILE_SECONDS:
            other.unlink(missing_ok=True)


def _delete_if_ended(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return  # its host runs
    else:
        shutil.rmtree(folder, ignore_errors=True)
        log.info("spool_of_ended_host_deleted", host=folder.name)
    finally:
        os.close(descriptor)
