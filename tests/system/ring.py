"""The whole ring as real processes: session-hosts, projector, apis, on servers of the test run."""

import asyncio
import os
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest

from deploy.local.services import new_admin_key, new_key, python_module
from deploy.servers.children import Child, Orders
from deploy.servers.databases import Databases
from deploy.servers.ports import free_port
from tests.deadlines import PATIENCE_SECONDS, eventually

RINGS: pytest.StashKey[list["Ring"]] = pytest.StashKey()

Environment = Mapping[str, str]
_NOTHING: Environment = {}
END_SECONDS = 100.0
"""A session-host may finish sends in flight for 80 s."""


class Ring:
    """One installation: its own data directory, database, vhost and ports.

    `port=3000` puts the first api where the published examples expect it. `environment` goes to
    every process; the others to the processes that they name (a stand-in's environment, say, to
    the hosts only). `start_process` starts every process: as `python -m`, or forked by a zygote.
    """

    def __init__(
        self,
        *,
        directory: Path,
        databases: Databases,
        broker: str,
        engine: str = "simulated",
        hosts: int = 1,
        apis: int = 1,
        port: int | None = None,
        migrated: bool = False,
        environment: Environment = _NOTHING,
        host_environment: Environment = _NOTHING,
        projector_environment: Environment = _NOTHING,
        api_environment: Environment = _NOTHING,
        start_process: Callable[[Orders], Child] = Child.start,
    ) -> None:
        self.directory = directory
        self.databases = databases
        self.broker = broker
        self.admin_key = new_admin_key()
        self.processes: dict[str, Child] = {}
        self._wanted = (hosts, apis)
        self._port = port
        self._migrated = migrated
        self._host_environment = host_environment
        self._projector_environment = projector_environment
        self._api_environment = api_environment
        self._start_process = start_process
        self._ports: dict[str, int] = {}
        self._clients = AsyncExitStack()
        self._admin: httpx.AsyncClient | None = None
        self._environment = {
            "PATH": os.environ.get("PATH", "/usr/bin:/bin"),
            "HOME": str(directory),
            "LANG": "C.UTF-8",
            "PYTHONUNBUFFERED": "1",
            "PYTHONFAULTHANDLER": "1",
            **databases.environment(),
            "AMQP_URL": broker,
            "ADMIN_KEY": self.admin_key,
            "TOKEN_ENCRYPTION_KEY": new_key(),
            "DATA_DIR": str(directory),
            "ENGINE": engine,
            "LOG_FORMAT": "console",
            **environment,
        }

    async def start(self, within: float = PATIENCE_SECONDS) -> None:
        """Migrate, start everything, return once every process says that it is ready."""
        self.directory.mkdir(parents=True, exist_ok=True)
        if not self._migrated:
            await self.migrate()
        hosts, apis = self._wanted
        async with asyncio.TaskGroup() as group:
            for _ in range(hosts):
                group.create_task(self.add_host(within=within))
            self.start_projector()
            for _ in range(apis):
                group.create_task(self.add_api(within=within))

    async def migrate(self, within: float = PATIENCE_SECONDS) -> None:
        """Run both services' migrations at the same time."""
        async with asyncio.timeout(within), asyncio.TaskGroup() as group:
            for module in ("wa_session_host", "wa_api"):
                group.create_task(self._to_its_end(f"{module}-migrate", (module, "migrate")))

    async def add_host(
        self,
        environment: Environment = _NOTHING,
        *,
        ready: bool = True,
        within: float = PATIENCE_SECONDS,
    ) -> int:
        """Start one more session-host; its number, from 0. With `ready`, wait for its health."""
        number = sum(name.startswith("host-") for name in self.processes)
        own = {"HEALTH_PORT": str(self._port_of(f"host-{number}"))}
        own |= {**self._host_environment, **environment}
        child = self._start(f"host-{number}", ("wa_session_host", "run"), own)
        if ready:
            await self._ready(child, f"http://127.0.0.1:{own['HEALTH_PORT']}/readyz", within)
        return number

    def start_projector(self, environment: Environment = _NOTHING) -> Child:
        """Start the projector, or start it again."""
        port = str(self._port_of("projector"))
        own = {"METRICS_PORT": port, "PROJECTOR_METRICS_PORT": port}
        own |= {**self._projector_environment, **environment}
        return self._start("projector", ("wa_api", "project"), own)

    def start_webhooks(self, environment: Environment = _NOTHING) -> Child:
        """Start a process that delivers webhooks; a ring has none by itself."""
        port = str(self._port_of("webhooks"))
        own = {"WEBHOOKS_METRICS_PORT": port, **environment}
        return self._start("webhooks", ("wa_api", "deliver"), own)

    def start_rebuild(self, environment: Environment = _NOTHING) -> Child:
        """Start a rebuild of the projections; it ends by itself."""
        return self._start("rebuild", ("wa_api", "rebuild"), environment)

    async def add_api(
        self,
        environment: Environment = _NOTHING,
        *,
        ready: bool = True,
        within: float = PATIENCE_SECONDS,
    ) -> int:
        """Start one more api; its number, from 0. With `ready`, wait until it answers."""
        number = sum(name.startswith("api-") for name in self.processes)
        if number == 0 and self._port is not None:
            self._ports["api-0"] = self._port
        own = {
            "PORT": str(self._port_of(f"api-{number}")),
            "METRICS_PORT": str(self._port_of(f"api-{number}-metrics")),
            **self._api_environment,
            **environment,
        }
        child = self._start(f"api-{number}", ("wa_api", "serve"), own)
        if ready:
            await self._ready(child, f"{self.url(number)}/readyz", within)
        return number

    async def kill_host(self, number: int = 0, *, with_workers: bool = False) -> None:
        """SIGKILL the host's process; its workers are left to find out, unless said otherwise."""
        await self.kill(f"host-{number}", with_family=with_workers)

    async def kill(self, name: str, *, with_family: bool = True) -> None:
        """SIGKILL one of `processes`, without or with everything that it started."""
        child = self.processes[name]
        if with_family:
            await child.kill()
            return
        child.signal(signal.SIGKILL)
        await child.wait()

    async def end(self, name: str, within: float = END_SECONDS) -> bool:
        """SIGTERM to one of `processes`; False if it had to be killed."""
        return await self.processes[name].stop(within)

    async def restart(self, name: str, within: float = PATIENCE_SECONDS) -> None:
        """Start an ended process again, with the environment and ports that it had."""
        old = self.processes[name]
        if old.alive:
            raise AssertionError(f"{name} still runs")
        self.processes[name] = child = self._start_process(old.orders)
        if name.startswith("host-"):
            health = f"http://127.0.0.1:{old.orders.env['HEALTH_PORT']}/readyz"
            await self._ready(child, health, within)
        elif name.startswith("api-"):
            await self._ready(child, f"http://127.0.0.1:{old.orders.env['PORT']}/readyz", within)

    async def stop(self) -> None:
        """End all in order: apis, projector, hosts. Never fails because one has ended before."""
        await self._clients.aclose()
        self._admin = None
        for prefix in ("rebuild", "webhooks", "api-", "projector", "host-"):
            async with asyncio.TaskGroup() as group:
                for name, child in self.processes.items():
                    if name.startswith(prefix):
                        group.create_task(child.stop(within=15))

    @property
    def environment(self) -> Environment:
        """What every process gets, for programs that are to run beside them."""
        return self._environment

    def url(self, api: int = 0) -> str:
        """Where an api listens, without a slash at the end."""
        return f"http://127.0.0.1:{self._ports[f'api-{api}']}"

    @property
    def admin(self) -> httpx.AsyncClient:
        """A client with the admin key, for the first api; closed by `stop`."""
        if self._admin is None:
            self._admin = self.client(self.admin_key)
        return self._admin

    def client(self, token: str | None, *, api: int = 0) -> httpx.AsyncClient:
        """A client with that bearer token (none: without); closed by `stop`."""
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        client = httpx.AsyncClient(
            base_url=self.url(api), headers=headers, timeout=45, trust_env=False
        )
        self._clients.push_async_callback(client.aclose)
        return client

    async def create_session(self, name: str | None = None) -> dict[str, Any]:
        """Create a session over REST: the answer's body, with `sessionId` and `token`."""
        answer = await self.admin.post("/api/sessions", json={} if name is None else {"name": name})
        assert answer.status_code in {201, 202}, answer.text  # 202: a host is slow to take it up
        return _body(answer)

    async def session(self, session_id: str) -> dict[str, Any]:
        """A session as REST shows it now."""
        answer = await self.admin.get(f"/api/sessions/{session_id}")
        assert answer.status_code == 200, answer.text
        return _body(answer)

    async def wait_for_status(
        self, session_id: str, status: str | Sequence[str], timeout: float = PATIENCE_SECONDS
    ) -> dict[str, Any]:
        """The session, once it has that status (or one of them)."""
        wanted = (status,) if isinstance(status, str) else tuple(status)

        async def reached() -> dict[str, Any]:
            seen = await self.session(session_id)
            assert seen["status"] in wanted, seen
            return seen

        what = f"session {session_id} is {' or '.join(wanted)}"
        return await eventually(reached, within=timeout, what=what)

    async def wait_for_message(
        self, message_id: str, status: str | Sequence[str], timeout: float = PATIENCE_SECONDS
    ) -> dict[str, Any]:
        """The message, once it has that status (or one of them)."""
        wanted = (status,) if isinstance(status, str) else tuple(status)

        async def reached() -> dict[str, Any]:
            answer = await self.admin.get(f"/api/messages/{message_id}")
            assert answer.status_code == 200, answer.text
            seen = _body(answer)
            assert seen["status"] in wanted, seen
            return seen

        what = f"message {message_id} is {' or '.join(wanted)}"
        return await eventually(reached, within=timeout, what=what)

    async def send(
        self,
        token: str,
        *,
        headers: Mapping[str, str] | None = None,
        api: int = 0,
        **body: Any,
    ) -> httpx.Response:
        """`POST /api/messages/send` with that body; the answer, whatever it is."""
        async with httpx.AsyncClient(timeout=45, trust_env=False) as client:
            return await client.post(
                f"{self.url(api)}/api/messages/send",
                json=body,
                headers={"Authorization": f"Bearer {token}", **(headers or {})},
            )

    def log(self, name: str) -> str:
        """What one of `processes` has written so far, over all its starts."""
        path = self._log_path(name)
        return path.read_text(errors="replace") if path.exists() else ""

    def log_sections(self, lines: int = 60) -> list[tuple[str, str]]:
        """A title and the last lines of every log, for a failed test's report."""
        return [
            (f"{name} ({_state(child)})", "\n".join(self.log(name).splitlines()[-lines:]))
            for name, child in self.processes.items()
        ]

    def _log_path(self, name: str) -> Path:
        return self.directory / "logs" / f"{name}.log"

    def _port_of(self, name: str) -> int:
        if name not in self._ports:
            self._ports[name] = free_port()
        return self._ports[name]

    def _start(self, name: str, command: Sequence[str], own: Environment) -> Child:
        environment = {**self._environment, **own}
        log = self._log_path(name)
        child = self._start_process(Orders(name, python_module(*command), environment, log))
        self.processes[name] = child
        return child

    async def _to_its_end(self, name: str, command: Sequence[str]) -> None:
        log = self._log_path(name)
        child = self._start_process(Orders(name, python_module(*command), self._environment, log))
        try:
            if await child.wait() != 0:
                raise child.died()
        finally:
            await child.kill()

    async def _ready(self, child: Child, address: str, within: float) -> None:
        deadline = time.monotonic() + within
        async with httpx.AsyncClient(timeout=2, trust_env=False) as client:
            while True:
                try:
                    answer = await client.get(address)
                    if answer.status_code == 200:
                        return
                    seen = f"{answer.status_code} {answer.text[:200]}"
                except httpx.HTTPError as error:
                    seen = repr(error)
                if not child.alive:
                    raise child.died()
                if time.monotonic() > deadline:
                    raise AssertionError(
                        f"{child.name} was not ready within {within:g} s, last seen: {seen}\n"
                        f"{child.last_words(40)}"
                    )
                await asyncio.sleep(0.03)


def _state(child: Child) -> str:
    return "running" if child.alive else f"ended with {child.exit_code}"


def _body(answer: httpx.Response) -> dict[str, Any]:
    body: dict[str, Any] = answer.json()
    return body
