"""How often the interpreter looks for garbage in cycles."""

import gc

_YOUNG = 20_000
"""Objects; the default of 700 is reached many times within one request."""


def tune_collector() -> None:
    """Leave what start-up made out of every collection, and collect less often.

    To be called once all is imported. Cycles are rare here: memory is freed by counts.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG)
