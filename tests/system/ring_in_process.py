"""The whole ring inside the test's own process: host, projector and api on a loop in a thread."""

import asyncio
import threading
from collections.abc import Coroutine
from concurrent.futures import Future
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self, TypeVar

import httpx
from pydantic import SecretStr

from deploy.servers.databases import Databases
from tests.integration.api.running import ADMIN_KEY, KEYS, settings_for
from wa_api.processes.project import run_projector
from wa_api.processes.serve import run_api
from wa_session_host.main import run_host
from wa_session_host.settings import Settings as HostSettings

SECONDS = 60.0

Result = TypeVar("Result")


class RingInProcess:
    """Started by `with`; tests speak to it by synchronous HTTP."""

    def __init__(self, databases: Databases, broker: str, directory: Path) -> None:
        self._api_settings = settings_for(databases.api, broker, directory)
        self._host_settings: dict[str, Any] = {
            "session_host_database_url": SecretStr(databases.session_host),
            "amqp_url": SecretStr(broker),
            "engine": "simulated",
            "simulated_links_after": 0.0,
            "data_dir": directory,
            "health_port": 0,
        }
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._stop_all = asyncio.Event()
        self._stop_host = asyncio.Event()
        self._port: Future[int] = Future()
        self._running: list[Future[Any]] = []
        self._clients = ExitStack()

    def __enter__(self) -> Self:
        self._thread.start()
        self._host = self._start(run_host(self._settings_of_a_host(), self._stop_host))
        self._running = [
            self._start(run_projector(self._api_settings, self._stop_all)),
            self._start(
                run_api(
                    self._api_settings, KEYS, stop=self._stop_all, on_ready=self._port.set_result
                )
            ),
        ]
        self._port.result(SECONDS)
        self.admin = self.client(ADMIN_KEY)
        return self

    def __exit__(self, *_: object) -> None:
        self._clients.close()
        for stop in (self._stop_all, self._stop_host):
            self._loop.call_soon_threadsafe(stop.set)
        for part in (*self._running, self._host):
            part.result(SECONDS)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(SECONDS)
        self._loop.close()

    def client(self, token: str) -> httpx.Client:
        """A client with that bearer token, closed with the ring."""
        return self._clients.enter_context(
            httpx.Client(
                base_url=f"http://127.0.0.1:{self._port.result()}",
                headers={"Authorization": f"Bearer {token}"},
                timeout=SECONDS,
                trust_env=False,
            )
        )

    def replace_host(self) -> None:
        """The host hands its sessions over and ends; another one takes them."""
        self._loop.call_soon_threadsafe(self._stop_host.set)
        self._host.result(SECONDS)
        self._stop_host = asyncio.Event()
        self._host = self._start(run_host(self._settings_of_a_host(), self._stop_host))

    def run(self, work: Coroutine[Any, Any, Result]) -> Result:
        """Run this on the ring's loop."""
        return self._start(work).result(SECONDS)

    def _settings_of_a_host(self) -> HostSettings:
        return HostSettings(**self._host_settings)  # a host id of its own each time

    def _start(self, part: Coroutine[Any, Any, Result]) -> "Future[Result]":
        return asyncio.run_coroutine_threadsafe(part, self._loop)
