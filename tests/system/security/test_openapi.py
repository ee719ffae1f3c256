"""The api keeps to its OpenAPI document, whoever asks for whatever: a short run, the same each time."""

import asyncio

from tests.system.conftest import NewRing
from tests.system.security.explore import ENVIRONMENT, callers_of, explore

SHORT = ("--phases", "fuzzing,stateful", "--max-examples", "1", "--generation-deterministic")


async def test_no_answer_breaks_the_document(new_ring: NewRing) -> None:
    ring = await new_ring(environment=ENVIRONMENT)
    callers = await callers_of(ring)
    for names in (("token", "nobody"), ("admin",)):
        runs = await asyncio.gather(*(explore(ring, callers[name], *SHORT) for name in names))
        for name, found in zip(names, runs, strict=True):
            assert found.passed, f"{name}:\n{found.report[-6000:]}"
            assert "Tested: 48" in found.report, found.report[-1500:]
    await ring.stop()
