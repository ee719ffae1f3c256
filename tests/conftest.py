"""The fixtures that every test may ask for, and the services' logs beneath a failure."""

from collections.abc import Generator

import pytest

from tests.browser.chromium import browser
from tests.infrastructure import (
    broker,
    database,
    new_broker,
    new_database,
    own_postgres,
    own_rabbitmq,
    postgres,
    rabbitmq,
)
from tests.system.ring import RINGS
from tests.system.rings import (
    migrated_template,
    new_migrated_database,
    new_ring,
    ring,
    video,
)

__all__ = [
    "broker",
    "browser",
    "database",
    "migrated_template",
    "new_broker",
    "new_database",
    "new_migrated_database",
    "new_ring",
    "own_postgres",
    "own_rabbitmq",
    "postgres",
    "rabbitmq",
    "ring",
    "video",
]


LONGEST_FIRST = (
    "tests/faults/test_soak.py",
    "tests/faults/test_strikes.py",
    "tests/browser/test_looks.py",
    "tests/system/test_session_states.py",
    "tests/system/test_fail_over_real.py",
    "tests/system/test_outages.py",
)
"""Modules that would keep one process busy after the other ones have nothing left to do."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the longest; else nothing changes."""
    last = len(LONGEST_FIRST)
    ranks = {module: rank for rank, module in enumerate(LONGEST_FIRST)}
    items.sort(key=lambda item: ranks.get(item.nodeid.partition("::")[0], last))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show the end of every log of the rings that run when a test fails."""
    report = yield
    if report.failed:
        for ring in item.config.stash.get(RINGS, []):
            report.sections.extend(ring.log_sections())
    return report
