"""A foreground process that starts everything, restarts what ends, and shuts down in order.

Order of shutdown: api, webhooks, projector, session-host, RabbitMQ, Postgres. Ctrl-C or SIGTERM
starts the shutdown; a second one kills what is left. If this process is killed, the kernel signals
the children (see children.py) and they end.
"""

import asyncio
import contextlib
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping

import httpx
import psutil

from deploy.local import services
from deploy.local.configuration import Configuration, Misconfigured
from deploy.local.logs import LogTails, start_log
from deploy.local.services import Keys, Program, Service
from deploy.local.stack import Stack, Urls
from deploy.servers.children import Child, ChildDied, Orders
from deploy.servers.databases import Databases
from deploy.servers.factory import PostgresServer, RabbitMQServer
from deploy.servers.pgbouncer import EmbeddedPgBouncer
from deploy.servers.ports import is_free

_LONGEST_DELAY_SECONDS = 30.0
_STEADY_AFTER_SECONDS = 60.0
_STILL_WAITING_EVERY_SECONDS = 15.0

MakeProgram = Callable[[Configuration, Mapping[str, str]], Program]
OnReady = Callable[[str, Keys], Awaitable[None]]


class Supervisor:
    """Runs one configuration until stopped."""

    def __init__(
        self,
        configuration: Configuration,
        *,
        program: MakeProgram = services.program,
        on_ready: OnReady | None = None,
    ) -> None:
        self._configuration = configuration
        self._keys = services.keys(configuration)
        environment = {**services.inherited(configuration), **self._keys.environment()}
        self._program = program(configuration, environment)
        self._on_ready = on_ready
        self._running: dict[str, Child] = {}
        self._tails = LogTails(prefixed=configuration.log_format != "json")
        self._stop_within = {
            service.name: service.stop_within for service in self._program.services
        }
        self._asked_to_stop = False

    @property
    def address(self) -> str:
        return f"http://localhost:{self._configuration.port}/"

    async def run(self) -> int:
        """Run until Ctrl-C or SIGTERM; return the exit code. Raises what prevents the start."""
        began = time.monotonic()
        self._port_is_free()
        with self._signals():
            try:
                async with Stack(self._configuration, _say) as stack:
                    if stack.leftovers:
                        _say(f"Ended {stack.leftovers} processes that an earlier run left behind.")
                    _say("Starting Postgres and RabbitMQ …")
                    try:
                        urls = await stack.start(self._migrate)
                        await self._serve(stack, urls, began)
                    finally:
                        await self._end_services()
                        _say("Stopping RabbitMQ and Postgres …")
            except asyncio.CancelledError:
                if not self._asked_to_stop:
                    raise
        _say("Stopped.")
        return 0

    async def _serve(self, stack: Stack, urls: Urls, began: float) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self._keep_server("Postgres", stack.postgres, stack))
            group.create_task(self._keep_server("PgBouncer", stack.pool, stack))
            group.create_task(self._keep_server("RabbitMQ", stack.rabbitmq, stack))
            group.create_task(self._tails.follow())
            _say(f"Starting {', '.join(s.name for s in self._program.services)} …")
            for service in self._program.services:
                log = start_log(self._configuration.logs, service.name)
                self._tails.add(service.name, log)
                group.create_task(self._keep(service, urls, stack))
            await self._answers()
            self._show(stack, urls, time.monotonic() - began)
            if self._on_ready is not None:
                await self._on_ready(self.address, self._keys)

    async def _migrate(self, databases: Databases) -> None:
        """Run both services' migrations concurrently, each on its own schema."""
        async with asyncio.TaskGroup() as group:
            for migration in self._program.migrations:
                group.create_task(self._to_its_end(migration, databases.environment()))
        _say("The databases are migrated.")

    async def _to_its_end(self, migration: Service, urls: Mapping[str, str]) -> None:
        """Run a migration. With an external database, which may be away, repeat until success."""
        delays = _growing()
        while True:
            log = start_log(self._configuration.logs, migration.name)
            environment = {**migration.environment, **urls}
            child = Child.start(Orders(migration.name, migration.argv, environment, log))
            self._running[migration.name] = child
            if await child.wait() == 0:
                break
            if self._configuration.external_databases is None:
                raise child.died()
            delay = next(delays)
            _say(f"{child.died()}\nTrying again in {delay:g} s …")
            await asyncio.sleep(delay)
        del self._running[migration.name]

    async def _keep(self, service: Service, urls: Urls, stack: Stack) -> None:
        delays = _growing()
        while True:
            log = self._configuration.logs / f"{service.name}.log"
            environment = {**service.environment, **urls.environment_of(service.owner)}
            child = Child.start(Orders(service.name, service.argv, environment, log))
            self._running[service.name] = child
            stack.record.add(child.pid)
            code = await child.wait()
            if time.monotonic() - child.started_at > _STEADY_AFTER_SECONDS:
                delays = _growing()
            delay = next(delays)
            _say(f"{service.name} ended with {code}; starting it again in {delay:g} s.")
            await child.stop(within=0)
            await asyncio.sleep(delay)

    async def _keep_server(
        self,
        name: str,
        server: PostgresServer | RabbitMQServer | EmbeddedPgBouncer | None,
        stack: Stack,
    ) -> None:
        if server is None:
            return
        delays = _growing()
        while True:
            await asyncio.sleep(0.5)
            if server.running:
                continue
            delay = next(delays)
            _say(f"{name} ended; starting it again in {delay:g} s.")
            await asyncio.sleep(delay)
            try:
                await server.start()
            except (ChildDied, OSError) as error:
                _say(str(error))
                continue
            for pid in server.pids:
                stack.record.add(pid)

    async def _end_services(self) -> None:
        """Stop the services in the reverse order of their start."""
        for name, child in reversed(self._running.items()):
            if not child.alive:
                continue
            _say(f"Stopping {name} …")
            if not await child.stop(self._stop_within.get(name, 10)):
                _say(f"{name} did not end in time and was killed.")
            self._tails.show()

    async def _answers(self) -> None:
        """Return once `/readyz` answers 200. Report a long wait every 15 s."""
        next_word = time.monotonic() + _STILL_WAITING_EVERY_SECONDS
        async with httpx.AsyncClient(timeout=2, trust_env=False) as client:
            while True:
                with contextlib.suppress(httpx.HTTPError):
                    if (await client.get(f"{self.address}readyz")).status_code == 200:
                        return
                if time.monotonic() > next_word:
                    next_word += _STILL_WAITING_EVERY_SECONDS
                    _say(
                        f"Still waiting for {self.address}readyz (logs: {self._configuration.logs})"
                    )
                await asyncio.sleep(0.05)

    def _show(self, stack: Stack, urls: Urls, seconds: float) -> None:
        """Print a table of processes and servers, then the address and the login link."""
        own = {True: "started here", False: "as named in the environment"}
        logs = self._configuration.logs
        rows = [
            ("dashboard", self.address, f"engine {self._configuration.engine}"),
            *((s.name, s.shows, f"log {logs / s.name}.log") for s in self._program.services),
            ("Postgres", _place(urls.databases.api), own[stack.postgres is not None]),
            ("RabbitMQ", _place(urls.broker), own[stack.rabbitmq is not None]),
            ("data", str(self._configuration.data_dir), f"started in {seconds:.1f} s"),
        ]
        wide = max(len(where) for _, where, _ in rows)
        print(
            "\n" + "\n".join(f"  {what:<13} {at:<{wide}}  {how}" for what, at, how in rows) + "\n"
        )
        print(f"Ready: {self.address}", flush=True)
        if self._keys.admin_generated:
            print(f"Log in: {self.address}login?key={self._keys.admin}", flush=True)

    def _port_is_free(self) -> None:
        port = self._configuration.port
        if not (is_free(port) and is_free(port, "::1")):
            raise Misconfigured(
                f"Port {port} is in use by another program: stop that one, or choose another port, "
                f"for example PORT={port + 1 if port < 65535 else port - 1}."
            )

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("run() belongs into a task")

        def on_signal() -> None:
            if self._asked_to_stop:
                _say("Killing what is still there …")
                for process in psutil.Process().children(recursive=True):
                    with contextlib.suppress(psutil.NoSuchProcess):
                        process.kill()
                return
            self._asked_to_stop = True
            print(flush=True)
            task.cancel()

        numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        for number in numbers:
            loop.add_signal_handler(number, on_signal)
        try:
            yield
        finally:
            for number in numbers:
                loop.remove_signal_handler(number)


def _growing() -> Iterator[float]:
    delay = 0.5
    while True:
        yield delay
        delay = min(delay * 2, _LONGEST_DELAY_SECONDS)


def _place(url: str) -> str:
    """Host and port of a URL, without credentials."""
    return url.rpartition("@")[2].partition("/")[0]


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
