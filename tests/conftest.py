"""The fixtures that every test may ask for, and the services' logs beneath a failure."""

import sys
from collections.abc import Generator
from pathlib import Path

import pytest

from tests import durations
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
    start_process,
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
    "start_process",
    "video",
]


# jsonschema would import it for the formats iri and iri-reference, which no schema here has:
# its grammars take 5 s of a core, in every process that collects tests.
sys.modules["rfc3987_syntax"] = None  # type: ignore[assignment]

FOLDER = Path(__file__).parent

LEVELS = {
    "unit": "unit",
    "integration": "integration",
    "system": "system",
    "compose": "system",
    "faults": "faults",
    "browser": "browser",
}
"""The marker of every test in a folder of `tests`: pyproject.toml says what the markers mean."""

SERVERS = {"postgres", "rabbitmq", "own_postgres", "own_rabbitmq", "whatsapp", "browser"}
"""Fixtures that start a server; no unit test may ask for one."""


def _mark_level(item: pytest.Item) -> None:
    level = LEVELS.get(item.path.relative_to(FOLDER).parts[0])
    if level is None:
        raise pytest.UsageError(f"{item.nodeid}: tests belong in one of {', '.join(LEVELS)}")
    item.add_marker(level)
    asked = SERVERS.intersection(getattr(item, "fixturenames", ()))
    if level == "unit" and asked:
        raise pytest.UsageError(f"{item.nodeid}: a unit test starts no {', '.join(sorted(asked))}")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark each test with its level and begin with the longest modules."""
    for item in items:
        _mark_level(item)
    known = durations.known()
    items.sort(key=lambda item: durations.rank(known, _module(item.nodeid)))


def pytest_configure(config: pytest.Config) -> None:
    """Record durations where all reports come together, of runs that leave no test out."""
    option, chosen = config.option, any("::" in argument for argument in config.args)
    leaves_out = chosen or option.keyword or option.markexpr or option.collectonly
    if not (leaves_out or hasattr(config, "workerinput")):
        config.pluginmanager.register(_DurationsPlugin())


class _DurationsPlugin:
    def __init__(self) -> None:
        self._recorder = durations.Recorder()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._recorder.add(_module(report.nodeid), report.duration)

    def pytest_sessionfinish(self, exitstatus: int) -> None:
        if exitstatus in {pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED}:
            self._recorder.write()


def _module(nodeid: str) -> str:
    return nodeid.partition("::")[0]


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
