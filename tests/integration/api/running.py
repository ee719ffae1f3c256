"""An api and a projector in the test's own process, with their settings."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
from pydantic import SecretStr

from tests.deadlines import eventually
from tests.integration.api.scripted_host import ScriptedHost
from wa_api.access.keys import Keys
from wa_api.processes.project import run_projector
from wa_api.processes.serve import run_api
from wa_api.settings import Settings

ADMIN_KEY = "the-admin-key-of-the-tests-is-long"
KEYS = Keys(
    admin=SecretStr(ADMIN_KEY),
    encryption=SecretStr("an-encryption-key-of-the-tests-is-long"),
    admin_made_here=False,
)


def settings_for(database_url: str, broker_url: str, directory: Path, **changed: Any) -> Settings:
    """Settings with free ports."""
    values: dict[str, Any] = {
        "host": "127.0.0.1",
        "port": 0,
        "metrics_port": 0,
        "projector_metrics_port": 0,
        "api_database_url": SecretStr(database_url),
        "amqp_url": SecretStr(broker_url),
        "data_dir": directory,
        "send_wait_seconds": 5,
        **changed,
    }
    return Settings(**values)


class RunningApi:
    """How tests speak to an api."""

    def __init__(self, base_url: str, stop: asyncio.Event, clients: AsyncExitStack) -> None:
        self.base_url = base_url
        self.stop = stop
        self._clients = clients
        self.anonymous = self.client(None)
        self.admin = self.client(ADMIN_KEY)

    def client(self, token: str | None, **headers: str) -> httpx.AsyncClient:
        """A client with that bearer token, closed with the api."""
        bearer = {"Authorization": f"Bearer {token}"} if token else {}
        client = httpx.AsyncClient(
            base_url=self.base_url, headers={**bearer, **headers}, timeout=20, trust_env=False
        )
        self._clients.push_async_callback(client.aclose)
        return client

    async def new_session(self, host: ScriptedHost, *, linked: bool = True) -> dict[str, Any]:
        """A created (and linked) session: its body, with `token`."""
        created = await self.admin.post("/api/sessions", json={"name": "shop"})
        assert created.status_code == 201, created.text
        session: dict[str, Any] = created.json()
        if linked:
            await host.link(UUID(session["sessionId"]))
            await self.reaches(session["sessionId"], "working")
        return session

    async def reaches(
        self, session_id: str, status: str, reason: str | None = None
    ) -> dict[str, Any]:
        """The session, once it is shown with this status, and this reason if one is given."""

        async def reached() -> dict[str, Any]:
            answer = await self.admin.get(f"/api/sessions/{session_id}")
            body: dict[str, Any] = answer.json()
            assert body.get("status") == status, body
            assert reason in {None, body["statusReason"]}, body
            return body

        return await eventually(reached, what=f"{session_id} is {status}")


@asynccontextmanager
async def running_api(settings: Settings) -> AsyncIterator[RunningApi]:
    """An api during the block; its end is awaited."""
    stop = asyncio.Event()
    port: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    async with asyncio.TaskGroup() as group:
        group.create_task(run_api(settings, KEYS, stop=stop, on_ready=port.set_result))
        async with AsyncExitStack() as clients:
            try:
                yield RunningApi(f"http://127.0.0.1:{await port}", stop, clients)
            finally:
                stop.set()


@asynccontextmanager
async def running_projector(settings: Settings) -> AsyncIterator[None]:
    """A projector during the block."""
    stop = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        group.create_task(run_projector(settings, stop))
        try:
            yield
        finally:
            stop.set()
