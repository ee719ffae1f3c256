"""Tests of a running compose project: deploy/compose/try.sh starts one and names it."""

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.compose.compose_ring import ComposeRing

PROJECT = os.environ.get("COMPOSE_RING")

collect_ignore_glob = [] if PROJECT else ["test_*.py"]


@pytest.fixture(scope="module")
async def ring(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ComposeRing]:
    """The running project, in the place of a ring of processes."""
    assert PROJECT is not None
    directory: Path = tmp_path_factory.mktemp("compose")
    ring = ComposeRing(PROJECT, directory)
    yield ring
    await ring.stop()
