"""A private RabbitMQ node: own directory, own epmd, 127.0.0.1 only."""

import asyncio
import contextlib
import hashlib
import os
import secrets
import signal
import subprocess
import time
from pathlib import Path
from urllib.parse import quote

import psutil

from deploy.servers import erlang
from deploy.servers.children import Child, ChildDied, Orders
from deploy.servers.ports import free_port, speaks_amqp

USER = "wa"
_CONFIGURATION = """\
default_user = {user}
default_pass = {password}
default_permissions.configure = .*
default_permissions.read = .*
default_permissions.write = .*
loopback_users = none
log.file.level = info
log.console = false
disk_free_limit.absolute = 256MB
"""
_WRITE_REGISTRATIONS = "[dets:sync(Table) || Table <- dets:all()]."
_ERLANG_ARGS = "-kernel inet_dist_use_interface {127,0,0,1} -start_epmd false"


class RabbitMQRefused(RuntimeError):
    """The node refused a command. The message quotes it."""


class EmbeddedRabbitMQ:
    """One node in its own directory, on 127.0.0.1, with one administrator."""

    def __init__(self, directory: Path, *, port: int | None = None) -> None:
        self.directory = directory
        self.port = port or free_port()
        self._epmd_port = free_port()
        self._dist_port = free_port()
        self._password_file = directory / "password"
        self._installation: erlang.Installation | None = None
        self._epmd: Child | None = None
        self._node: Child | None = None

    @property
    def node_name(self) -> str:
        """Fixed per directory, since the node's data depends on it."""
        digest = hashlib.sha256(str(self.directory.resolve()).encode()).hexdigest()[:10]
        return f"wa-{digest}@localhost"

    @property
    def url(self) -> str:
        return self.url_of("/")

    @property
    def running(self) -> bool:
        return self._node is not None and self._node.alive

    @property
    def pids(self) -> tuple[int, ...]:
        """Pids of the node and of epmd."""
        return tuple(c.pid for c in (self._node, self._epmd) if c is not None and c.alive)

    def url_of(self, vhost: str) -> str:
        password = quote(self._password_file.read_text(), safe="")
        return f"amqp://{USER}:{password}@127.0.0.1:{self.port}/{quote(vhost, safe='')}"

    async def start(self, within: float = 180) -> None:
        """Start the node and return once AMQP is answered.

        Installs RabbitMQ first if missing. A leftover node of the same directory is ended. Raises
        BrokerUnavailable or ChildDied.
        """
        if self._installation is None:
            self._installation = await asyncio.to_thread(erlang.find_or_install)
        self._prepare()
        await asyncio.to_thread(self._end_previous_node)
        epmd = [str(self._installation.epmd), "-port", str(self._epmd_port)]
        self._epmd = self._child("epmd", [*epmd, "-address", "127.0.0.1"], signal.SIGKILL)
        self._node = self._child("RabbitMQ", [str(self._installation.server)], signal.SIGTERM)
        deadline = time.monotonic() + within
        while not await speaks_amqp(self.port, within=0.2):
            if not self._node.alive:
                raise self._died(self._node)
            if time.monotonic() > deadline:
                await self.kill()
                raise ChildDied(
                    f"RabbitMQ did not answer within {within:.0f} s.\n{self._log_end()}"
                )

    async def stop(self) -> None:
        """Stop the node, then epmd."""
        if self._node is not None:
            await self._node.stop(within=20)
        await self._end_epmd()

    async def kill(self) -> None:
        """SIGKILL the node. Confirmed messages of quorum queues are kept.

        The broker writes a new quorum queue's registration to disk only every 0.5 s. A queue
        declared just before a crash would stay without a leader for ever. Therefore the
        registrations are synced first, if the node answers.
        """
        if self._node is not None:
            with contextlib.suppress(RabbitMQRefused, subprocess.TimeoutExpired, OSError):
                await self.evaluate(_WRITE_REGISTRATIONS, within=3)
            await self._node.kill()
        await self._end_epmd()

    async def add_vhost(self, vhost: str) -> str:
        await self.evaluate(
            f'rabbit_vhost:add(<<"{vhost}">>, <<"{USER}">>), '
            f'rabbit_auth_backend_internal:set_permissions(<<"{USER}">>, <<"{vhost}">>, '
            f'<<".*">>, <<".*">>, <<".*">>, <<"{USER}">>), ok.'
        )
        return self.url_of(vhost)

    async def delete_vhost(self, vhost: str) -> None:
        await self.evaluate(f'rabbit_vhost:delete(<<"{vhost}">>, <<"{USER}">>), ok.')

    async def evaluate(self, expressions: str, within: float = 60) -> str:
        """Evaluate Erlang on the node, in milliseconds. rabbitmqctl needs seconds."""
        if self._installation is None:
            raise RabbitMQRefused("the node has not been started")
        if not (self._installation.erlang_bin / "erl_call").exists():
            return await self.control("eval", expressions)
        cookie = (self.directory / ".erlang.cookie").read_text().strip()
        call = [str(self._installation.erlang_bin / "erl_call"), "-c", cookie, "-e"]
        answer = await self._run(
            [*call, "-address", f"127.0.0.1:{self._dist_port}"], f"{expressions}\n", within
        )
        if not answer.startswith("{ok, "):
            raise RabbitMQRefused(answer)
        return answer.removeprefix("{ok, ").rstrip("}\n")

    async def control(self, *arguments: str) -> str:
        if self._installation is None:
            raise RabbitMQRefused("the node has not been started")
        return await self._run([str(self._installation.control), "-q", *arguments])

    async def _run(self, argv: list[str], text: str = "", within: float = 60) -> str:
        done = await asyncio.to_thread(
            subprocess.run,
            argv,
            input=text.encode(),
            env=self._environment(),
            capture_output=True,
            timeout=within,
            check=False,
        )
        if done.returncode != 0:
            raise RabbitMQRefused((done.stderr or done.stdout).decode(errors="replace").strip())
        return done.stdout.decode()

    def _child(self, name: str, argv: list[str], on_orphaned: signal.Signals) -> Child:
        log = self.directory / "log" / f"{name.lower()}.out"
        return Child.start(
            Orders(name, argv, self._environment(), log, self.directory, on_orphaned=on_orphaned)
        )

    async def _end_epmd(self) -> None:
        self._node = None
        if self._epmd is not None:
            await self._epmd.kill()
            self._epmd = None

    def _prepare(self) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)
        if not self._password_file.exists():
            self._password_file.touch(mode=0o600)
            self._password_file.write_text(secrets.token_urlsafe(24))
        configuration = self.directory / "rabbitmq.conf"
        configuration.touch(mode=0o600)
        password = self._password_file.read_text()
        configuration.write_text(_CONFIGURATION.format(user=USER, password=password))
        (self.directory / "enabled_plugins").write_text("[].\n")

    def _environment(self) -> dict[str, str]:
        if self._installation is None:
            raise RabbitMQRefused("RabbitMQ has not been found yet")
        here = self.directory
        return {
            "HOME": str(here),
            "PATH": f"{self._installation.erlang_bin}:{os.environ.get('PATH', '/usr/bin:/bin')}",
            "LANG": "C.UTF-8",
            "LC_ALL": "C.UTF-8",
            # Makes the start script exec the node instead of waiting for it.
            "RUNNING_UNDER_SYSTEMD": "true",
            "RABBITMQ_CONF_ENV_FILE": "/dev/null",
            "RABBITMQ_NODENAME": self.node_name,
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(self._dist_port),
            "ERL_EPMD_PORT": str(self._epmd_port),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_MNESIA_BASE": str(here / "mnesia"),
            "RABBITMQ_LOG_BASE": str(here / "log"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(here / "enabled_plugins"),
            "RABBITMQ_CONFIG_FILE": str(here / "rabbitmq.conf"),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": _ERLANG_ARGS,
        }

    def _end_previous_node(self) -> None:
        """End a leftover node: two nodes on one directory would corrupt it."""
        for process in psutil.process_iter(["name", "cmdline"]):
            with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
                words = process.info["cmdline"] or ()
                if process.info["name"] == "beam.smp" and self.node_name in words:
                    process.kill()
                    process.wait(10)
        for stale in (self.directory / "mnesia").glob("*.pid"):
            stale.unlink()

    def _died(self, child: Child) -> ChildDied:
        return ChildDied(f"{child.died()}\n{self._log_end()}")

    def _log_end(self) -> str:
        log = self.directory / "log" / f"{self.node_name}.log"
        return "\n".join(log.read_text(errors="replace").splitlines()[-15:]) if log.exists() else ""
