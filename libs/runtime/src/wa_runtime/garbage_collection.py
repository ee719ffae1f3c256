"""Tuning of the cyclic garbage collector."""

import gc

_YOUNG = 20_000
"""Objects. A single request exceeds the default of 700 many times."""


def tune_collector() -> None:
    """Exempt all present objects from collection and collect less often.

    Call once after all imports. Reference counts free nearly all memory; cycles are rare.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG)
