"""Named points in a message's life at which tests kill the process.

`FAULT_POINT_FILE` names a file that holds a point's name. The process that reaches the point
removes the file and sends itself SIGKILL: no handler runs, no buffer is flushed, as in a power
cut. Without the variable a point costs one comparison.
"""

import os
import signal
from enum import StrEnum
from pathlib import Path

_FILE = os.environ.get("FAULT_POINT_FILE")


class FaultPoint(StrEnum):
    """Points in the order in which a message reaches them."""

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
    """Points of a replay."""

    BUNDLE_REPLAYED = "bundle_replayed"


def are_set() -> bool:
    """Whether tests may kill this process. Callers then wait for the exact moment."""
    return _FILE is not None


def reach(point: FaultPoint | ReplayPoint) -> None:
    """Report that a message or a replay reached `point`; end the process if a test asked for it."""
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
