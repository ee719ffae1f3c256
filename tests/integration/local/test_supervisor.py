"""`make run` with stand-ins: it starts, restarts, says what is wrong, and leaves nobody behind."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest

from deploy.servers.ports import free_port
from tests.deadlines import eventually


class Run:
    """One supervisor as a user would start it, its output in a file."""

    def __init__(self, data_dir: Path, output: Path, **environment: str) -> None:
        self.data_dir = data_dir
        self.port = int(environment.get("PORT") or free_port())
        self._output = output
        with output.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tests.integration.local.run_stand_ins"],
                env={
                    "PATH": os.environ["PATH"],
                    "HOME": os.environ.get("HOME", str(data_dir)),
                    "DATA_DIR": str(data_dir),
                    **environment,
                    "PORT": str(self.port),
                },
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.seen: set[psutil.Process] = set()

    @property
    def output(self) -> str:
        return self._output.read_text(errors="replace")

    def family(self) -> set[psutil.Process]:
        self.seen |= set(psutil.Process(self.process.pid).children(recursive=True))
        return self.seen

    async def ready(self) -> None:
        def told() -> bool:
            if self.process.poll() is not None:
                raise RuntimeError(f"ended with {self.process.returncode}: {self.output}")
            return "Ready: " in self.output

        await eventually(told, what="the supervisor is ready")
        self.family()

    async def ended(self) -> int:
        await eventually(lambda: self.process.poll() is not None, what="it ended")
        return self.process.returncode

    def survivors(self) -> list[psutil.Process]:
        return [process for process in self.seen if _runs(process)]

    def clean_up(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        for process in self.survivors():
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()


def _runs(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.fixture
def runs(tmp_path: Path) -> Iterator[list[Run]]:
    started: list[Run] = []
    yield started
    for run in started:
        run.clean_up()


async def test_ctrl_c_ends_everything_stubborn_children_included(
    tmp_path: Path, runs: list[Run]
) -> None:
    run = Run(tmp_path / "data", tmp_path / "out")
    runs.append(run)
    await run.ready()
    names = {process.name() for process in run.family()}
    assert {"postgres", "beam.smp", "epmd"} <= names
    steps = [
        *("Starting Postgres and RabbitMQ", "Postgres is up", "The databases are migrated."),
        *("Starting session-host, api", "  dashboard ", "  RabbitMQ ", "Ready: "),
    ]
    at = [run.output.index(step) for step in steps]
    assert at == sorted(at), run.output
    for name in ("session-host", "api"):
        assert f"log {tmp_path}/data/logs/{name}.log" in run.output
    run.process.send_signal(signal.SIGINT)
    assert await run.ended() == 0
    assert run.survivors() == []
    assert "session-host did not end in time and was killed." in run.output
    order = [run.output.index(f"Stopping {name}") for name in ("api", "session-host", "RabbitMQ")]
    assert order == sorted(order)


async def test_everything_killed_then_run_again(tmp_path: Path, runs: list[Run]) -> None:
    first = Run(tmp_path / "data", tmp_path / "out1")
    runs.append(first)
    await first.ready()
    stack_file = tmp_path / "data" / "stack.env"
    urls = stack_file.read_text()
    assert stack_file.stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "data" / "keys.env").stat().st_mode & 0o777 == 0o600
    keys = (tmp_path / "data" / "keys.env").read_text()
    first.process.kill()
    for process in first.family() if first.process.poll() is None else first.seen:
        with contextlib.suppress(psutil.NoSuchProcess):  # its parent's end ended it
            process.kill()
    first.process.wait()
    again = Run(tmp_path / "data", tmp_path / "out2", PORT=str(first.port))
    runs.append(again)
    await again.ready()
    assert stack_file.read_text() == urls
    assert (tmp_path / "data" / "keys.env").read_text() == keys
    again.process.send_signal(signal.SIGTERM)
    assert await again.ended() == 0
    assert again.survivors() == []


async def test_children_do_not_outlive_a_killed_supervisor(tmp_path: Path, runs: list[Run]) -> None:
    run = Run(tmp_path / "data", tmp_path / "out", STAND_IN_HOST="wait")
    runs.append(run)
    await run.ready()
    run.process.kill()
    await eventually(lambda: not run.survivors(), what="all children ended")


async def test_a_child_that_dies_is_started_again_and_said_so(
    tmp_path: Path, runs: list[Run]
) -> None:
    run = Run(tmp_path / "data", tmp_path / "out", STAND_IN_HOST="die")
    runs.append(run)
    await run.ready()
    said = "session-host ended with 3; starting it again in 1 s."
    await eventually(lambda: said in run.output, what="growing delay is told")
    async with httpx.AsyncClient(trust_env=False) as client:
        assert (await client.get(f"http://127.0.0.1:{run.port}/")).status_code == 200
    run.process.send_signal(signal.SIGINT)
    assert await run.ended() == 0
    assert run.survivors() == []


async def test_a_busy_port_is_one_clear_sentence(tmp_path: Path, runs: list[Run]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        run = Run(tmp_path / "data", tmp_path / "out", PORT=str(port))
        runs.append(run)
        assert await run.ended() == 1
    assert f"Port {port} is in use by another program" in run.output
    assert "Traceback" not in run.output


async def test_a_data_directory_in_use_is_one_clear_sentence(
    tmp_path: Path, runs: list[Run]
) -> None:
    first = Run(tmp_path / "data", tmp_path / "out1")
    runs.append(first)
    await first.ready()
    second = Run(tmp_path / "data", tmp_path / "out2")
    runs.append(second)
    assert await second.ended() == 1
    assert f"is in use by another run (process {first.process.pid})" in second.output
    assert "Traceback" not in second.output
