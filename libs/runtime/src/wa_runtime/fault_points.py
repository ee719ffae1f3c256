"""Named points in a message's way at which tests stop the process dead.

In production this is one look at a name that is not set. With `FAULT_POINT_FILE` in the
environment, the process that comes to the point whose name stands in that file removes the file
and ends by SIGKILL: no handler runs, no buffer is flushed, as in a power cut.
"""

import os
import signal
from enum import StrEnum
from pathlib import Path

_FILE = os.environ.get("FAULT_POINT_FILE")


class FaultPoint(StrEnum):
    """The points in the order in which a message comes to them."""

    COMMAND_RECEIVED = "command_received"
    INTENT_STORED = "intent_stored"
    COMMAND_ACKED = "command_acked"
    SEND_STARTED = "send_started"
    ENGINE_CALLED = "engine_called"
    OUTCOME_STORED = "outcome_stored"
    EVENT_PUBLISHED = "event_published"
    RELAY_MARKED = "relay_marked"
    PROJECTION_STORED = "projection_stored"
    PROJECTION_ACKED = "projection_acked"


class ReplayPoint(StrEnum):
    """Points of a replay, which no message comes to in its life."""

    BUNDLE_REPLAYED = "bundle_replayed"


def are_set() -> bool:
    """Whether tests may stop this process: then it is worth waiting for the very moment."""
    return _FILE is not None


def reach(point: FaultPoint | ReplayPoint) -> None:
    """Say that a message, or a replay, has come to this point; ends the process if a test wants that here."""
    if _FILE is not None:
        _end_if_wanted(Path(_FILE), point)


def _end_if_wanted(file: Path, point: FaultPoint | ReplayPoint) -> None:
    try:
        wanted = file.read_text()
    except FileNotFoundError:
        return
    if wanted == point:
        file.unlink()
        os.kill(os.getpid(), signal.SIGKILL)
