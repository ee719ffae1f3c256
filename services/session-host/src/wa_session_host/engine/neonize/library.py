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

OnWarning = Callable[[str], None]


def load(on_warning: OnWarning) -> None:
    """Load the library into this process, once.

    `on_warning` gets each warning of the engine, on a thread of the engine, before the engine goes
    on. Errors are logged. Lower levels never leave the engine: they cost a fifth of a send's CPU.
    """
    os.environ.pop("SPHINX", None)
    before = dict(vars(_binder))
    importlib.reload(_binder)
    for holder in _HOLDERS:
        for name, value in vars(_binder).items():
            if name in before and vars(holder).get(name) is before[name]:
                setattr(holder, name, value)
    logging.getLogger("neonize.utils.log").setLevel(logging.WARNING)

    def on_log(entry: int, size: int) -> None:
        _forward(LogEntry.FromString(ctypes.string_at(entry, size)), on_warning)

    neonize.aioze.client.log_whatsmeow = on_log


def _forward(entry: LogEntry, on_warning: OnWarning) -> None:
    if entry.Level == "WARN":
        on_warning(entry.Message)
    else:
        logging.getLogger(f"whatsmeow.{entry.Name}").error(entry.Message)
