"""The Go library of a worker: loaded after the fork, into modules that are imported already.

The fork server imports neonize without the library. The child reloads the one module that holds the
library and puts the new objects into the modules that imported the old ones: 9 MB less a worker,
and half the start, in place of a second import of neonize.
"""

import ctypes
import importlib
import logging
import os
from collections.abc import Callable
from typing import Any

import neonize.aioze.client
import neonize.client
from neonize import _binder
from neonize.proto.Neonize_pb2 import LogEntry

_HOLDERS: tuple[Any, ...] = (neonize.client, neonize.aioze.client)

ReadLine = Callable[[str], None]


def load(read: ReadLine) -> None:
    """Load the library into this process, once.

    `read` gets each line of the engine's log, on a thread of the engine, before the engine goes on.
    Errors are logged too. Lines below warnings stay in the engine: they cost a fifth of a send's CPU.
    """
    os.environ.pop("SPHINX", None)
    before = dict(vars(_binder))
    importlib.reload(_binder)
    for holder in _HOLDERS:
        for name, value in vars(_binder).items():
            if name in before and vars(holder).get(name) is before[name]:
                setattr(holder, name, value)
    _set_level(logging.WARNING)

    def on_log(entry: int, size: int) -> None:
        line = LogEntry.FromString(ctypes.string_at(entry, size))
        read(line.Message)
        if line.Level == "ERROR":
            logging.getLogger(f"whatsmeow.{line.Name}").error(line.Message)

    neonize.aioze.client.log_whatsmeow = on_log


def read_all_lines() -> None:
    """Get the lines of every level of the next client: stanzas too, which tell refusals to link."""
    _set_level(logging.DEBUG)


def _set_level(level: int) -> None:
    """Neonize hands its logger's level to the engine."""
    logging.getLogger("neonize.utils.log").setLevel(level)
