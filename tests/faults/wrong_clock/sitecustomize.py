"""Puts a process's wall clock off by CLOCK_OFF_SECONDS, as Python programs read it.

`datetime` and `time.time` are replaced before anything else is imported; monotonic clocks stay.
"""

import datetime as dt
import os
import time
from typing import Any

_OFF = float(os.environ["CLOCK_OFF_SECONDS"])
_real_datetime = dt.datetime
_real_time = time.time


class _AnyDatetime(type):
    """Every real datetime counts as one of the wrong class, too."""

    def __instancecheck__(cls, instance: object) -> bool:
        return isinstance(instance, _real_datetime)


class _Datetime(_real_datetime, metaclass=_AnyDatetime):
    """A datetime whose `now` is wrong."""

    @classmethod
    def now(cls, tz: Any = None) -> Any:
        """The wrong time."""
        return _real_datetime.now(tz) + dt.timedelta(seconds=_OFF)


setattr(dt, "datetime", _Datetime)  # noqa: B010
setattr(time, "time", lambda: _real_time() + _OFF)  # noqa: B010
