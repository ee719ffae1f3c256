"""One api, projector and scripted host for each module."""

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from deploy.servers.databases import Databases
from tests.integration.api.running import RunningApi, running_api, running_projector, settings_for
from tests.integration.api.scripted_host import ScriptedHost, scripted_host
from wa_api.settings import Settings
from wa_runtime.migrations import migrate


@pytest.fixture(scope="module")
async def settings(
    database: Databases, broker: str, tmp_path_factory: pytest.TempPathFactory
) -> Settings:
    """Settings on a migrated database."""
    await migrate(database.api, "wa_api")
    directory: Path = tmp_path_factory.mktemp("api")
    (directory / "media").mkdir()
    return settings_for(database.api, broker, directory)


@pytest.fixture(scope="module")
async def host_process(settings: Settings) -> AsyncIterator[ScriptedHost]:
    """The module's host."""
    async with scripted_host(settings.amqp_url.get_secret_value()) as host:
        yield host


@pytest.fixture
def host(host_process: ScriptedHost) -> ScriptedHost:
    """The host, forgetful of what other tests told it."""
    host_process.answers.clear()
    host_process.received.clear()
    host_process.beating = True
    host_process.ahead = timedelta(0)
    return host_process


@pytest.fixture(scope="module")
async def api(settings: Settings, host_process: ScriptedHost) -> AsyncIterator[RunningApi]:
    """The module's api, with its projector."""
    async with running_projector(settings), running_api(settings) as api:
        yield api


@pytest.fixture(scope="module")
async def session(api: RunningApi, host_process: ScriptedHost) -> dict[str, Any]:
    """A working session."""
    return await api.new_session(host_process)


@pytest.fixture
async def client(api: RunningApi, session: dict[str, Any]) -> AsyncIterator[httpx.AsyncClient]:
    """A client with the session's token."""
    async with httpx.AsyncClient(
        base_url=api.base_url,
        headers={"Authorization": f"Bearer {session['token']}"},
        timeout=20,
        trust_env=False,
    ) as client:
        yield client
